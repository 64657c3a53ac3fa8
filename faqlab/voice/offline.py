"""The offline models as an agent, and how they are loaded."""

from collections.abc import Sequence
from threading import Lock
from timeit import timeit
from typing import Any

from faqlab.conversation import Conversation
from faqlab.voice.agent import FaqAgent, Notify, Session
from faqlab.voice.offline_llm import OfflineLLM

LOADING = Lock()  # calls that Gemini fails at the same moment would each load the models


async def start_offline(session: Session, notify: Notify, **options: Any) -> None:
    """Start *session* with an agent on the offline models."""
    await session.start(offline_agent(session.userdata.conversation), **options)


def offline_agent(conversation: Conversation, *args: Any, **options: Any) -> FaqAgent:
    """Return a `FaqAgent` with these arguments, and load Whisper and hibari if `load_speech` hasn't."""
    from faqlab.voice.stt import WhisperSTT
    from faqlab.voice.tts import HibariTTS, Synthesizer
    from faqlab.voice.whisper import Whisper

    stt, tts = WhisperSTT(Whisper.shared()), HibariTTS(Synthesizer.shared())
    return FaqAgent(*args, stt=stt, llm=OfflineLLM(conversation, tts), tts=tts, **options)


def load_speech(texts: Sequence[str]) -> None:
    """Load Whisper and hibari, run each once, and synthesize *texts* in advance; FaqlabError if a model is missing."""
    from faqlab.voice.tts import Synthesizer
    from faqlab.voice.whisper import SAMPLE_RATE, Whisper

    with LOADING:
        speech = [Synthesizer.shared().speak_all(text) for text in texts]
        Whisper.shared().recognise(speech[0][: 3 * SAMPLE_RATE])


def turn_seconds() -> float:
    """Return how long one core takes to speak a sentence and to transcribe one, as it must for each turn."""
    return timeit(lambda: load_speech(("You can return it within thirty days, in any of our shops.",)), number=1)
