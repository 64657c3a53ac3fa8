"""
Calls on Gemini, by livekit's plugin and an emulator of Gemini's protocol, without a room: what's asked is text.

Nothing here waits for a clock: how long Gemini may stay silent is up to the test.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from conftest import until
from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, UserStateChangedEvent
from livekit.agents.voice.io import AudioInput
from pydantic import SecretStr
from scipy.signal import resample_poly

from benchmarks.gemini_emulator import GREETING, GeminiEmulator, Mood
from benchmarks.words import normalise_words
from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.errors import FaqlabError
from faqlab.lookup_log import LookupLog
from faqlab.retriever import Retriever
from faqlab.settings import Settings
from faqlab.small_talk import SmallTalk
from faqlab.voice import gemini
from faqlab.voice.agent import INSTRUCTIONS, FaqAgent, Lookups
from faqlab.voice.offline_llm import OfflineLLM
from faqlab.voice.whisper import SAMPLE_RATE, Whisper

QUESTION, ANSWER = "Where is my parcel?", "Follow the link in your shipping email."
HOLD = ("info", replies.HOLD)


class Patience:
    """Lasts until the test ends it."""

    def __init__(self) -> None:
        self._end: asyncio.Future[None] | None = None

    async def __call__(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().create_future()
        await self._end

    async def end(self) -> None:
        """Wait until it's needed, and end it."""
        await until(lambda: self._end and not self._end.done())
        assert self._end
        self._end.set_result(None)


class Microphone(AudioInput):
    """Sends what the test puts in."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    def speak(self) -> None:
        """Send a burst of noise, which the emulator transcribes as `QUESTION`, and silence."""
        noise = np.random.default_rng(0).normal(0, 3000, 4000).astype(np.int16)
        for samples in (noise, np.zeros(12000, np.int16)):
            self._frames.put_nowait(rtc.AudioFrame(samples.tobytes(), 16000, 1, len(samples)))

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()


class Call:
    """A session on an emulator, with what was said and shown in it."""

    def __init__(self, emulator: GeminiEmulator, conversation: Conversation, key: str) -> None:
        self.emulator, self.key = emulator, key
        self.records, self.patience = LookupLog(), Patience()
        self.loaded: list[str] = []
        self.notices: list[tuple[str, str]] = []
        self.lookups = Lookups(conversation, self.records)
        self.session = AgentSession[Lookups](
            userdata=self.lookups, vad=None, turn_handling={"turn_detection": None}, user_away_timeout=None
        )
        self.microphone = self.session.input.audio = Microphone()
        self.failover = gemini.Failover(self.session, self.notify, self.patience)

    async def notify(self, level: str, text: str) -> None:
        self.notices.append((level, text))

    def load(self, texts: Sequence[str]) -> None:
        self.loaded += texts

    async def start(self) -> None:
        settings = Settings(google_api_key=SecretStr(self.key))  # type: ignore[call-arg]
        await self.failover.start(gemini.gemini_agent(settings, self.emulator.http_options))

    @property
    def said(self) -> list[str]:
        """What the assistant has said."""
        messages = self.session.history.messages()
        return [(message.text_content or "").strip() for message in messages if message.role == "assistant"]

    async def until_said(self, *sentences: str) -> None:
        """Wait until these are all that the assistant has said."""
        await until(lambda: self.said == list(sentences))

    async def ask(self, question: str) -> None:
        """Have the user ask, by text."""
        self.session.generate_reply(user_input=question)

    def finish_speaking(self) -> None:
        """Have the session believe that the caller spoke."""
        for old, new in (("listening", "speaking"), ("speaking", "listening")):
            self.session.emit("user_state_changed", UserStateChangedEvent(old_state=old, new_state=new))  # type: ignore[arg-type]


def agent_without_speech(conversation: Conversation, *args: Any, **options: Any) -> FaqAgent:
    return FaqAgent(*args, llm=OfflineLLM(conversation), **options)


Calling = Callable[..., AbstractAsyncContextManager[Call]]


@pytest.fixture
def calling(
    short_retriever: Retriever,
    small_talk: SmallTalk,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Calling]:
    """`async with calling(*moods) as call`: a call to an emulator in these moods, which never gives its key away."""
    keys: list[str] = []

    @asynccontextmanager
    async def call(*moods: Mood, key: str | None = None, refuse: bool = False, **options: Any) -> AsyncIterator[Call]:
        async with GeminiEmulator(*moods, transcribe=lambda audio: QUESTION, **options) as emulator:
            if refuse:
                emulator.refuse()
            call = Call(emulator, Conversation(short_retriever, small_talk), key or emulator.api_key)
            keys.append(call.key)
            monkeypatch.setattr(gemini, "load_speech", call.load)
            monkeypatch.setattr(gemini, "offline_agent", agent_without_speech)
            await call.start()
            yield call
            await call.session.aclose()

    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="livekit")
    yield call
    log = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.get_records("call"))
    assert "connecting to Gemini Realtime API" in log
    for key in keys:
        assert key not in log
        assert key not in os.environ.values()


async def test_a_question_is_looked_up_and_answered(calling: Calling) -> None:
    async with calling() as call:
        await call.until_said(GREETING)
        result = await call.session.run(user_input=QUESTION)
        result.expect.contains_function_call(name="lookup_company_info", arguments={"query": QUESTION})
        await call.until_said(GREETING, ANSWER)
        (connection,) = call.emulator.connections
        assert replies.GREETING in connection.prompts[0]
        (response,) = connection.tool_responses
        result = json.loads(response["response"]["output"])
        assert (result["status"], result["answers"][0]) == ("answer", {"question": QUESTION, "answer": ANSWER})
        assert connection.said == [GREETING, ANSWER]
        assert (call.notices, call.loaded) == ([], [])


async def test_the_setup_has_the_models_name_the_voice_and_a_blocking_tool(calling: Calling) -> None:
    async with calling() as call:
        await call.until_said(GREETING)
        setup = call.emulator.connections[0].setup
    assert setup["model"] == "models/gemini-3.8-live"
    assert setup["generationConfig"]["responseModalities"] == ["AUDIO"]
    assert "'voice_name': 'Fenrir'" in str(setup["generationConfig"]["speechConfig"])
    assert setup["tools"][0]["functionDeclarations"][0]["behavior"] == "BLOCKING"
    assert setup["inputAudioTranscription"] == setup["outputAudioTranscription"] == {}
    assert INSTRUCTIONS.read_text().splitlines()[0] in str(setup["systemInstruction"]["parts"][0]["text"])


@pytest.mark.parametrize("close_code", [1008, 1011])
async def test_one_close_and_a_go_away_are_survived(calling: Calling, close_code: int) -> None:
    async with calling(close_code=close_code) as call:
        await call.until_said(GREETING)
        await call.emulator.break_off()
        await until(lambda: len(call.emulator.connections) == 2)
        call.microphone.speak()
        await call.until_said(GREETING, ANSWER)
        await call.emulator.go_away()
        await until(lambda: len(call.emulator.connections) == 3)
        call.microphone.speak()
        await call.until_said(GREETING, ANSWER, ANSWER)
        assert call.notices == []


async def test_when_the_connection_breaks_off_in_an_answer_gemini_is_reminded_on_the_next(calling: Calling) -> None:
    async with calling(Mood.STUCK, Mood.WELL) as call:
        await call.until_said(GREETING)
        call.microphone.speak()
        await until(lambda: call.emulator.connections[0].asked)
        await call.emulator.break_off()
        await until(lambda: len(call.emulator.connections) == 2)
        await call.patience.end()
        await call.until_said(GREETING, GREETING)
        assert gemini.REMINDER in call.emulator.connections[1].prompts[-1]
        assert call.notices in ([], [HOLD])


async def test_when_gemini_stays_silent_the_caller_is_asked_to_hold_and_then_gemini_is_reminded(
    calling: Calling,
) -> None:
    async with calling(Mood.DEAF) as call:
        await call.until_said(GREETING)
        call.finish_speaking()
        await call.patience.end()
        await until(lambda: call.notices == [HOLD])
        assert len(call.emulator.connections[0].prompts) == 1, "a reminder would interrupt a slow answer"
        await call.patience.end()
        await call.until_said(GREETING, GREETING)
        assert gemini.REMINDER in call.emulator.connections[0].prompts[-1]
        assert replies.APOLOGY in call.loaded, "the offline models are loaded while Gemini may still recover"
        assert call.notices == [HOLD, HOLD]


async def test_a_slow_answer_is_heard_after_the_caller_was_asked_to_hold(calling: Calling) -> None:
    answering = asyncio.Event()
    async with calling(Mood.SLOW, take_time=answering.wait) as call:
        await call.until_said(GREETING)
        call.microphone.speak()
        await until(lambda: call.emulator.connections[0].asked)
        call.finish_speaking()
        await call.patience.end()
        await until(lambda: call.notices == [HOLD])
        answering.set()
        await call.until_said(GREETING, ANSWER)
        call.finish_speaking()
        await call.patience.end()
        await until(lambda: len(call.notices) == 2)
        assert call.notices == [HOLD, HOLD]
        assert len(call.emulator.connections[0].prompts) == 1, "its words end what it had been silent for"


async def test_a_tool_call_that_gemini_takes_back_is_answered_and_spoken_once(calling: Calling) -> None:
    async with calling(Mood.CANCELLING) as call:
        await call.until_said(GREETING)
        call.microphone.speak()
        await call.until_said(GREETING, ANSWER)
        await call.ask(QUESTION)
        await call.until_said(GREETING, ANSWER, ANSWER)
        assert len(call.emulator.connections[0].tool_responses) == 2, "what was taken back needs no response"
        assert call.notices == []


def test_the_caller_is_asked_to_hold_in_the_words_of_the_replies() -> None:
    samples = np.frombuffer(gemini.HOLD.data, np.int16)
    speech = resample_poly(samples.astype(np.float32) / 32768, SAMPLE_RATE, gemini.HOLD.sample_rate)
    assert normalise_words(Whisper.shared().recognise(speech.astype(np.float32)).text) == normalise_words(replies.HOLD)


@pytest.mark.parametrize(
    "trouble",
    [
        {"key": "AIza-a-wrong-key"},
        {"mood": Mood.FORBIDDEN},
        {"refuse": True},
        {"mood": Mood.BROKEN},
        {"mood": Mood.BROKEN, "close_code": 1008},
    ],
    ids=["wrong key", "403", "refused", "1011 at each connect", "1008 at each connect"],
)
async def test_a_call_continues_offline_when_gemini_cannot_be_connected(
    calling: Calling, trouble: dict[str, Any]
) -> None:
    async with calling(trouble.pop("mood", Mood.WELL), **trouble) as call:
        await call.until_said(f"{replies.APOLOGY} {replies.INVITATION}")
        (await call.session.run(user_input=QUESTION)).expect[-1].is_message(role="assistant")
        assert call.said[-1] == ANSWER
        assert (call.notices[0], call.notices[-1]) == (HOLD, ("warning", replies.APOLOGY))
        assert call.emulator.moods == [Mood.WELL] or len(call.emulator.connections) <= 3


@pytest.mark.parametrize("mood", [Mood.MUTE, Mood.HANGING])
async def test_a_call_continues_offline_when_gemini_stays_silent(calling: Calling, mood: Mood) -> None:
    async with calling(mood) as call:
        for _ in range(3):
            await call.patience.end()
        await call.until_said(f"{replies.APOLOGY} {replies.INVITATION}")
        await call.session.run(user_input=QUESTION)
        assert call.said[-1] == ANSWER


async def test_a_go_away_without_return_keeps_what_was_said(calling: Calling) -> None:
    async with calling() as call:
        await call.until_said(GREETING)
        await call.ask(QUESTION)
        await call.until_said(GREETING, ANSWER)
        call.emulator.refuse()
        await call.emulator.go_away()
        await until(lambda: replies.INVITATION in call.said[-1])
        history = [message.text_content for message in call.session.current_agent.chat_ctx.messages()]
        assert [text.strip() for text in history if text][1:4] == [GREETING, QUESTION, ANSWER]


@pytest.mark.parametrize("mood", [Mood.STUCK, Mood.FROZEN])
async def test_a_question_that_gemini_left_open_is_answered_without_asking_again(calling: Calling, mood: Mood) -> None:
    async with calling(mood) as call:
        await call.until_said(GREETING)
        call.microphone.speak()
        await until(lambda: call.emulator.connections[0].asked)
        call.finish_speaking()
        for _ in range(3):
            await call.patience.end()
        await call.until_said(GREETING, replies.APOLOGY, ANSWER)
        call.lookups.log_pending()
        assert [record.query for record in call.records.records] == [QUESTION]


async def test_a_look_up_that_fails_is_apologised_for(calling: Calling, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Conversation, "ask", fail)
    async with calling() as call:
        await call.until_said(GREETING)
        for count in (1, 2, 3):
            await call.ask(QUESTION)
            await call.until_said(GREETING, *[replies.SORRY] * count)
        assert [record.outcome for record in call.records.records] == ["failed"] * 3


async def test_a_call_ends_if_the_offline_models_cannot_be_loaded(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise FaqlabError("a speech model is missing")

    monkeypatch.setattr(Call, "load", fail)
    closed = asyncio.Event()
    monkeypatch.setattr(Call, "notify", lambda self, level, text: closed_after(self, closed))
    async with calling(Mood.FORBIDDEN) as call:
        await closed.wait()
        assert call.said == []


async def closed_after(call: Call, closed: asyncio.Event) -> None:
    @call.session.on("close")
    def _(event: CloseEvent) -> None:
        closed.set()
