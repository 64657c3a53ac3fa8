"""STT, language model and TTS of the calls: Gemini Live if there is a key, otherwise the offline models."""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from livekit.agents import AgentSession, inference
from livekit.agents.utils.hw import get_cpu_monitor

from faqlab.settings import Settings
from faqlab.voice.agent import Lookups, Notify, Session
from faqlab.voice.offline import load_speech, start_offline, turn_seconds

WAIT_SECONDS = 0.8
"""How long a caller may wait for those who finished speaking at the same moment."""


@dataclass(frozen=True)
class Pipeline:
    """The models that hold the conversations."""

    name: str
    prewarm: Callable[[Sequence[str]], None]  # loads what calls need, and synthesizes these sentences in advance
    start: Callable[..., Awaitable[None]]  # of (session, notify, **options of `AgentSession.start`)
    turn_seconds: Callable[[], float] = lambda: 0.0  # how long one core of this machine works for a turn

    def lines(self) -> int:
        """Return how many calls this machine can answer at once: two for each core, fewer if its cores are slow."""
        cores = get_cpu_monitor().cpu_count()
        if hasattr(os, "sched_getaffinity"):
            cores = min(cores, len(os.sched_getaffinity(0)))
        return max(1, int(cores * min(2.0, WAIT_SECONDS / max(self.turn_seconds(), 1e-3))))


def choose_pipeline(settings: Settings) -> Pipeline:
    """Return Gemini Live if the settings have a key for it, else the offline models. Call it on the main thread."""
    if settings.google_api_key is None:
        return Pipeline("offline models", load_speech, start_offline, turn_seconds)
    from faqlab.voice import gemini

    async def start(session: Session, notify: Notify, **options: Any) -> None:
        await gemini.Failover(session, notify).start(gemini.gemini_agent(settings), **options)

    return Pipeline(f"Gemini Live ({settings.gemini_model}, {settings.gemini_voice})", lambda sentences: None, start)


def new_session(lookups: Lookups, away_seconds: float) -> Session:
    """
    Return a session without STT, LLM and TTS: the agents bring their own.

    The STT decides when a turn is over, so livekit adds no endpointing delay; a reply is prepared at each pause. A
    caller who has been silent for *away_seconds* counts as away.
    """
    return AgentSession(
        userdata=lookups,
        vad=inference.VAD(min_silence_duration=0.1),
        turn_handling={
            "turn_detection": "vad",
            "endpointing": {"min_delay": 0.0, "max_delay": 0.0},
            "user_turn_limit": {"max_words": 40, "max_duration": 20.0},  # reached only by turns that the STT cuts off
            "interruption": {"mode": "vad", "min_duration": 0.2, "false_interruption_timeout": 1.2},
            "preemptive_generation": {"preemptive_tts": True, "max_speech_duration": 60.0, "max_retries": 50},
        },
        aec_warmup_duration=None,  # it would ignore the caller's first words; the page cancels the echo
        user_away_timeout=away_seconds,
        session_close_transcript_timeout=0.2,
    )
