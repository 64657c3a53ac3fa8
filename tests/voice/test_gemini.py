"""
Calls by Gemini, through the real plugin and a real livekit-server, to an emulator of its protocol.

Both sides speak and hear for real: what the caller says is Whisper's to understand, at the emulator and offline alike.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Self

import numpy as np
import pytest
from gemini_emulator import GREETING, GeminiEmulator, Mood
from livekit import rtc
from livekit.agents import Agent, AgentSession, llm, utils
from livekit.api import AccessToken, RoomAgentDispatch, RoomConfiguration, VideoGrants
from pydantic import SecretStr

from faqlab.dialogue import Dialogue
from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import Settings
from faqlab.voice import agent, gemini
from faqlab.voice.agent import Assistant
from faqlab.voice.answers import SORRY
from faqlab.voice.calls import CallLog
from faqlab.voice.ears import Ears
from faqlab.voice.offline import prewarm
from faqlab.voice.page import NOTICE_TOPIC
from faqlab.voice.sfu import LiveKit
from faqlab.voice.speech import SAMPLE_RATE, Voice, to_int16
from faqlab.voice.stack import MakeAgent, Notify, Stack, choose_stack
from faqlab.voice.worker import Worker

QUESTION, ANSWER = "Where is my parcel?", "Follow the link in the email."
SECOND, SECOND_ANSWER = "Can I return shoes?", "Yes, within 30 days."
FAQ = [(QUESTION, ANSWER), (SECOND, SECOND_ANSWER), ("How do I pay?", "By card.")]
PATIENCE = 2.0


class Call:
    """A caller, and a worker of the agent's for this call alone."""

    def __init__(self, livekit: LiveKit, retriever: Retriever, emulator: GeminiEmulator, key: str) -> None:
        self.livekit, self.emulator = livekit, emulator
        self.settings = Settings(google_api_key=SecretStr(key))  # type: ignore[call-arg]
        self.calls = CallLog()
        assistant: Future[Assistant] = Future()
        assistant.set_result(Assistant(retriever, Stack("Gemini's stand-in", self._first_agent), self.calls))
        self.worker = Worker(livekit, assistant, agent_name=f"agent-{id(self)}")
        self.caller = rtc.Room()
        self.source = rtc.AudioSource(SAMPLE_RATE, 1)
        self.audio: list[np.ndarray] = []
        self.captions: list[tuple[str, str]] = []
        self.notices: list[dict[str, str]] = []
        self.kept: list[str | None] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.caller.on("track_subscribed", lambda track, *_: self._spawn(self._listen(track)))
        self.caller.register_text_stream_handler("lk.transcription", lambda r, who: self._spawn(self._caption(r, who)))
        self.caller.register_text_stream_handler(NOTICE_TOPIC, lambda r, _: self._spawn(self._notice(r)))
        await asyncio.to_thread(self.worker.start)
        await self.caller.connect(self.livekit.url, self._token())
        microphone = rtc.LocalAudioTrack.create_audio_track("microphone", self.source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.caller.local_participant.publish_track(microphone, options)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.caller.disconnect()
        await asyncio.to_thread(self.worker.stop)
        await utils.aio.cancel_and_wait(*self.tasks)

    @property
    def looked_up(self) -> list[str]:
        """The queries of the agent's look-ups."""
        return [record.query for record in self.calls.records]

    def _first_agent(self, session: AgentSession[Any], notify: Notify, make: MakeAgent) -> Agent:
        def simpler(chat_ctx: llm.ChatContext) -> Agent:
            self.kept = [message.text_content for message in chat_ctx.messages()]
            return make(chat_ctx=chat_ctx)

        self.session, self.failover = session, gemini.Failover(session, notify, simpler, patience=PATIENCE)
        return make(**gemini.agent_options(self.settings, http_options=self.emulator.http_options))

    async def ask(self, text: str = QUESTION) -> None:
        """Say *text* and then nothing."""
        audio = await asyncio.to_thread(Voice.shared().speak_all, text)
        samples = to_int16(np.concatenate([audio, np.zeros(SAMPLE_RATE, np.float32)]))
        step = SAMPLE_RATE // 50
        for start in range(0, len(samples) - step, step):
            frame = rtc.AudioFrame(samples[start : start + step].tobytes(), SAMPLE_RATE, 1, step)
            await self.source.capture_frame(frame)

    async def until(self, fact: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait for *fact*, saying nothing: a microphone never stops sending."""
        deadline = time.monotonic() + seconds
        silence = rtc.AudioFrame(bytes(2 * SAMPLE_RATE // 50), SAMPLE_RATE, 1, SAMPLE_RATE // 50)
        while not fact():
            assert time.monotonic() < deadline, f"not in {seconds} s; {self}"
            await self.source.capture_frame(silence)

    def said(self, text: str) -> Callable[[], bool]:
        """Whether the agent's captions hold *text*."""
        return lambda: text in " ".join(caption.strip() for who, caption in self.captions if who != "caller")

    async def heard(self) -> str:
        """What a listener understands of all that came out of the agent."""
        audio = np.concatenate([frame for frame in self.audio if np.abs(frame).max() > 0.01])
        return await asyncio.to_thread(Ears.shared().transcribe, audio)

    def __repr__(self) -> str:
        return f"captions {self.captions}, connections {self.emulator.connections}"

    def _token(self) -> str:
        dispatch = RoomConfiguration(agents=[RoomAgentDispatch(agent_name=f"agent-{id(self)}")])
        grants = VideoGrants(room_join=True, room=f"room-{id(self)}")
        token = AccessToken(self.livekit.api_key, self.livekit.api_secret).with_identity("caller").with_grants(grants)
        return token.with_room_config(dispatch).with_ttl(timedelta(minutes=5)).to_jwt()

    def _spawn(self, work: Any) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def _listen(self, track: rtc.Track) -> None:
        async for event in rtc.AudioStream(track, sample_rate=16_000, num_channels=1):
            self.audio.append(np.frombuffer(event.frame.data, np.int16).astype(np.float32) / 32768)

    async def _caption(self, reader: rtc.TextStreamReader, who: str) -> None:
        with suppress(Exception):
            self.captions.append((who, await reader.read_all()))

    async def _notice(self, reader: rtc.TextStreamReader) -> None:
        self.notices.append(json.loads(await reader.read_all()))


@pytest.fixture(scope="module")
def retriever(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    gemini.import_on_main_thread()
    prewarm()
    for sentence in (GREETING, gemini.APOLOGY, gemini.INVITATION, *(text for faq in FAQ for text in faq)):
        Voice.shared().speak(sentence)
    folder = tmp_path_factory.mktemp("gemini")
    questions = [{"question": question, "answer": answer} for question, answer in FAQ]
    (folder / "faqs.json").write_text(json.dumps({"questions": questions}))
    return Retriever.build(FaqSet.load(folder / "faqs.json"), encoder=encoder, cache_dir=folder)


Calling = Callable[..., AbstractAsyncContextManager[Call]]


@pytest.fixture
def calling(livekit_server: LiveKit, retriever: Retriever, caplog: pytest.LogCaptureFixture) -> Iterator[Calling]:
    """`async with calling(*moods) as call`: a call to an emulator in these moods, which never gives its key away."""
    keys = []

    def compose(response: dict[str, Any]) -> str:
        result = json.loads(response["output"])
        return str(result["answers"][0]["answer"] if result["answers"] else result["say"])

    @asynccontextmanager
    async def call(*moods: Mood, key: str | None = None, refuse: bool = False) -> AsyncIterator[Call]:
        emulator = GeminiEmulator(Ears.shared().transcribe, Voice.shared().speak_all, compose, *moods)
        key = key or emulator.api_key
        keys.append(key)
        async with emulator, asyncio.timeout(90):
            if refuse:
                emulator.refuse()
            async with Call(livekit_server, retriever, emulator, key) as call:
                yield call

    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="livekit")  # a demo of another test may be running, which quiets it
    yield call
    log = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.get_records("call"))
    assert "connecting to Gemini Realtime API" in log
    for key in keys:
        assert key not in log
        assert key not in os.environ.values()


async def test_a_question_is_looked_up_and_the_answer_is_heard(calling: Calling) -> None:
    async with calling() as call:
        await call.until(call.said(GREETING))
        await call.ask(QUESTION)
        await call.until(call.said(ANSWER))
        await call.until(lambda: call.session.agent_state == "listening")
        (connection,) = call.emulator.connections
        assert connection.heard == [QUESTION]
        (response,) = connection.tool_responses
        assert response["name"] == "lookup_company_info"
        result = json.loads(response["response"]["output"])
        assert result["status"] == "answer"
        assert result["answers"][0] == {"question": QUESTION, "answer": ANSWER}
        assert connection.said == [GREETING, ANSWER]
        assert ("caller", QUESTION) in call.captions
        heard = await call.heard()
        assert "Welcome to the shop" in heard
        assert "the link in the email" in heard
        assert not call.failover.failed_over
    assert call.looked_up == [QUESTION]
    assert call.notices == []


async def test_the_setup_has_the_models_name_the_voice_and_a_blocking_tool(calling: Calling) -> None:
    async with calling() as call:
        await call.until(lambda: call.emulator.connections and call.emulator.connections[0].setup)
        setup = call.emulator.connections[0].setup
    assert setup["model"] == "models/gemini-3.8-live"
    assert setup["generationConfig"]["responseModalities"] == ["AUDIO"]
    assert "'voice_name': 'Fenrir'" in str(setup["generationConfig"]["speechConfig"])
    assert setup["tools"][0]["functionDeclarations"][0]["behavior"] == "BLOCKING"
    assert setup["inputAudioTranscription"] == setup["outputAudioTranscription"] == {}
    assert agent.INSTRUCTIONS in str(setup["systemInstruction"]["parts"][0]["text"])


async def test_one_1011_and_a_go_away_are_survived(calling: Calling) -> None:
    async with calling() as call:
        await call.until(call.said(GREETING))
        await call.emulator.break_off(1011)
        await call.until(lambda: len(call.emulator.connections) == 2)
        await call.ask(QUESTION)
        await call.until(call.said(ANSWER))
        await call.emulator.go_away()
        await call.until(lambda: len(call.emulator.connections) == 3)
        await call.ask(SECOND)
        await call.until(call.said(SECOND_ANSWER))
        assert not call.failover.failed_over
        assert len(call.emulator.connections) == 3


async def test_silence_that_was_for_a_cough_costs_a_prod_and_no_more(calling: Calling) -> None:
    async with calling(Mood.DEAF) as call:
        await call.until(call.said(GREETING))
        call.captions.clear()
        await call.ask("Ahem.")
        await call.until(call.said(GREETING))
        assert gemini.PROD in call.emulator.connections[0].prompts[-1]
        assert not call.failover.failed_over


@pytest.mark.parametrize(
    "troubles",
    [
        [{"key": "AIza-a-wrong-key"}, {"mood": Mood.FORBIDDEN}, {"refuse": True}],
        [{"mood": Mood.BROKEN}, {"mood": Mood.MUTE}, {"mood": Mood.HANGING}],
    ],
    ids=["wrong key, 403, refused", "1011 at each connect, mute, never set up"],
)
async def test_calls_that_gemini_never_takes_are_answered_offline(calling: Calling, troubles: list[Any]) -> None:
    """Three calls at once, for the time it takes."""

    async def answered_offline(mood: Mood = Mood.WELL, **trouble: Any) -> None:
        async with calling(mood, **trouble) as call:
            await call.until(call.said(gemini.INVITATION))
            await call.ask(QUESTION)
            await call.until(call.said(ANSWER))
            assert call.looked_up == [QUESTION]
            assert call.notices == [{"level": "warning", "text": gemini.APOLOGY}]
            assert "simpler voice" in await call.heard()
            assert len(call.emulator.connections) <= 3

    async with asyncio.TaskGroup() as calls:
        for trouble in troubles:
            calls.create_task(answered_offline(**trouble))


async def test_a_go_away_without_return_goes_on_offline_with_what_was_said(calling: Calling) -> None:
    async with calling() as call:
        await call.until(call.said(GREETING))
        await call.ask(QUESTION)
        await call.until(call.said(ANSWER))
        call.emulator.refuse()
        await call.emulator.go_away()
        await call.until(call.said(gemini.INVITATION))
        assert [text.strip() for text in call.kept if text] == [GREETING, QUESTION, ANSWER]
        assert call.notices


async def test_a_question_that_gemini_heard_and_left_is_answered_without_asking_again(calling: Calling) -> None:
    async with calling(Mood.STUCK) as call:
        await call.until(call.said(GREETING))
        await call.ask(QUESTION)
        await call.until(call.said(ANSWER))
        assert call.looked_up == [QUESTION]
        assert call.emulator.connections[0].said == [GREETING]
        assert not call.said(gemini.INVITATION)()


async def test_a_look_up_that_fails_is_owned_up_to_and_the_third_time_the_call_ends(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Dialogue, "ask", fail)
    async with calling() as call:
        await call.until(call.said(GREETING))
        for count in (1, 2):
            await call.ask(QUESTION)
            await call.until(lambda count=count: len(call.emulator.connections[0].said) == 1 + count)  # type: ignore[misc]
            await call.until(lambda: call.session.agent_state == "listening")
        (connection,) = call.emulator.connections
        assert connection.said[1:] == [SORRY, SORRY]
        assert not connection.prompts[1:]
        await call.ask(QUESTION)
        await call.until(lambda: not call.caller.isconnected())
        assert agent.GIVE_UP in connection.prompts[-1]
        assert connection.tool_responses[2]["response"]["output"] == ""  # no third apology to say over the goodbye
        assert call.notices == [{"level": "info", "text": agent.GIVE_UP}]
    assert [record.outcome for record in call.calls.records] == ["failed"] * 3


def test_without_a_key_the_message_says_what_to_set() -> None:
    with pytest.raises(FaqlabError, match="GOOGLE_API_KEY"):
        gemini.gemini_model(Settings(google_api_key=None))  # type: ignore[call-arg]


def test_what_is_said_when_gemini_fails_is_spoken_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faqlab.voice.weights._loaded", {})  # a voice that has said nothing yet
    choose_stack(Settings(google_api_key=SecretStr("a-key")))  # type: ignore[call-arg]
    voice = Voice.shared()
    sentences = voice.sentences(f"{gemini.APOLOGY} {gemini.INVITATION}")
    assert {(sentence, 1.0) for sentence in sentences} <= set(voice._kept)
