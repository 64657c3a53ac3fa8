"""The offline stack: ears, voice and answers from packages, behind livekit-agents' own interfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit.agents import inference

from faqlab.voice import ears as ears_
from faqlab.voice.answers import OfflineLLM
from faqlab.voice.ears import Ears
from faqlab.voice.listening import WhisperSTT
from faqlab.voice.speech import HibariTTS, Voice

ENDLESS = {"max_words": 40, "max_duration": 20.0}
"""What only a turn has that the ears had to cut off: it is answered over the sound that goes on."""


@dataclass(frozen=True)
class OfflineStack:
    """The parts of an `AgentSession`: `AgentSession(**vars(offline_stack()), **session_options())`."""

    stt: WhisperSTT
    llm: OfflineLLM
    tts: HibariTTS
    vad: inference.VAD


def offline_stack(prepare: Callable[[str], str] | None = None) -> OfflineStack:
    """
    Return the parts for one conversation. They share the models, which the first call loads if `prewarm` did not.

    Args:
        prepare: See `OfflineLLM`.

    Raises:
        FaqlabError: the speech model is missing or damaged.
    """
    voice = Voice.shared()
    return OfflineStack(
        stt=WhisperSTT(Ears.shared()),
        llm=OfflineLLM(prepare=prepare, voice=voice),
        tts=HibariTTS(voice),
        vad=inference.VAD(min_silence_duration=0.1),
    )


def session_options() -> dict[str, Any]:
    """
    Return the other arguments of the `AgentSession`, as measured.

    The ears decide when a turn is over, so nothing else waits; short answers to a pause are tried as often as the
    caller pauses; a caller who speaks for 0.2 s is let in.
    """
    return {
        "turn_handling": {
            "turn_detection": "vad",
            "endpointing": {"min_delay": 0.0, "max_delay": 0.0},
            "user_turn_limit": ENDLESS,
            "interruption": {"mode": "vad", "min_duration": 0.2, "false_interruption_timeout": 1.2},
            "preemptive_generation": {
                "enabled": True,
                "preemptive_tts": True,
                "max_speech_duration": 60.0,
                "max_retries": 50,
            },
        },
        # The page cancels its own echo; the first words after the greeting must not be lost.
        "aec_warmup_duration": None,
    }


def prewarm() -> None:
    """
    Load all models and run each once, so that the first turn is as fast as the others: 2 to 3 s.

    Raises:
        FaqlabError: the speech model is missing or damaged.
    """
    audio = Voice.shared().speak_all("It takes 3 to 5 days, and costs £3.95.")
    # Every second of the voice read as if at the ears' rate is as good as any other sound for this.
    Ears.shared().transcribe(audio[: 2 * ears_.SAMPLE_RATE] + np.float32(0))
    inference.VAD()
