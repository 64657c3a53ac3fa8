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
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from gemini_emulator import GREETING, GUESS, GeminiEmulator, Mood
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, inference, llm, stt, utils
from livekit.api import AccessToken, VideoGrants
from pydantic import SecretStr

from faqlab.errors import FaqlabError
from faqlab.settings import Settings
from faqlab.voice import gemini
from faqlab.voice.ears import Ears
from faqlab.voice.sfu import LiveKit, LocalServer, build_server
from faqlab.voice.speech import SAMPLE_RATE, HibariTTS, Voice, to_int16

QUESTION = "How long does shipping take?"
ANSWER = "Parcels arrive within three to five working days."
OFFLINE_ANSWER = "Without Gemini: three to five working days."
FAQ = {"status": "answer", "answer": ANSWER}
PATIENCE = 2.0


class FaqAgent(Agent):
    """The least that has the tool and greets."""

    def __init__(self, queries: list[str], **options: Any) -> None:
        super().__init__(instructions="Answer from the FAQ.", **options)
        self.queries = queries

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the caller.")

    @function_tool
    async def lookup_company_info(self, query: str) -> str:
        """Look a question up in the FAQ."""
        self.queries.append(query)
        return json.dumps(FAQ)


class OfflineSTT(stt.STT):
    """Whisper on what the VAD has cut."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(self, buffer: utils.AudioBuffer, **_: Any) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        audio = np.frombuffer(frame.data, np.int16).astype(np.float32) / 32768
        audio = audio[:: frame.sample_rate // 16_000]
        text = await asyncio.to_thread(Ears.shared().transcribe, audio)
        data = stt.SpeechData(language="en", text=text)  # type: ignore[arg-type]
        return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])


class OfflineLLM(llm.LLM):
    """Answers whatever is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[str] = []

    def chat(self, *, chat_ctx: llm.ChatContext, **options: Any) -> llm.LLMStream:
        self.questions.append(next(m.text_content or "" for m in reversed(chat_ctx.messages()) if m.role == "user"))
        return _OfflineStream(
            self, chat_ctx=chat_ctx, tools=options["tools"], conn_options=options["conn_options"]
        )


class _OfflineStream(llm.LLMStream):
    async def _run(self) -> None:
        delta = llm.ChoiceDelta(role="assistant", content=OFFLINE_ANSWER)
        self._event_ch.send_nowait(llm.ChatChunk(id=utils.shortuuid(), delta=delta))


class Call:
    """A caller and an agent in one room."""

    def __init__(self, livekit: LiveKit, emulator: GeminiEmulator) -> None:
        self.livekit, self.emulator = livekit, emulator
        self.queries: list[str] = []
        self.offline = OfflineLLM()
        self.caller, self.agent = rtc.Room(), rtc.Room()
        self.audio: list[np.ndarray] = []
        self.captions: list[tuple[str, str]] = []
        self.notices: list[dict[str, str]] = []
        self.source = rtc.AudioSource(SAMPLE_RATE, 1)
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Call:
        settings = Settings(google_api_key=SecretStr(self.emulator.api_key))  # type: ignore[call-arg]
        self.session: AgentSession[None] = AgentSession(
            stt=OfflineSTT(),
            llm=self.offline,
            tts=HibariTTS(Voice.shared()),
            vad=inference.VAD(min_silence_duration=0.3),
            turn_handling={"turn_detection": "vad", "endpointing": {"min_delay": 0.0}},
        )
        self.failover = gemini.Failover(
            self.session, self.agent, lambda ctx: FaqAgent(self.queries, chat_ctx=ctx), patience=PATIENCE
        )
        self.caller.on("track_subscribed", lambda track, *_: self._spawn(self._listen(track)))
        self.caller.register_text_stream_handler("lk.transcription", lambda r, who: self._spawn(self._caption(r, who)))
        self.caller.register_text_stream_handler(gemini.NOTICE_TOPIC, lambda r, _: self._spawn(self._notice(r)))
        await self.caller.connect(self.livekit.url, self._token("caller"))
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self.source)
        await self.caller.local_participant.publish_track(
            track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        )
        await self.agent.connect(self.livekit.url, self._token("agent"))
        options = gemini.agent_options(settings, http_options=self.emulator.http_options)
        await self.session.start(FaqAgent(self.queries, **options), room=self.agent)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.session.aclose()
        await self.caller.disconnect()
        await self.agent.disconnect()
        await utils.aio.cancel_and_wait(*self.tasks)

    async def ask(self, text: str = QUESTION) -> None:
        """Say *text* and then nothing."""
        audio = await asyncio.to_thread(Voice.shared().speak_all, text)
        samples = to_int16(np.concatenate([audio, np.zeros(SAMPLE_RATE, np.float32)]))
        step = SAMPLE_RATE // 50
        for start in range(0, len(samples) - step, step):
            frame = rtc.AudioFrame(samples[start : start + step].tobytes(), SAMPLE_RATE, 1, step)
            await self.source.capture_frame(frame)

    async def until(self, fact: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait for *fact*, saying nothing: a microphone never stops sending."""
        deadline = time.monotonic() + seconds
        silence = rtc.AudioFrame(bytes(2 * SAMPLE_RATE // 50), SAMPLE_RATE, 1, SAMPLE_RATE // 50)
        while not fact():
            assert time.monotonic() < deadline, f"not in {seconds} s; {self}"
            await self.source.capture_frame(silence)

    def said(self, text: str) -> Callable[[], bool]:
        """Whether the agent's captions hold *text*."""
        return lambda: text in " ".join(caption for who, caption in self.captions if who == "agent")

    async def heard(self) -> str:
        """What a listener understands of all that came out of the agent."""
        audio = np.concatenate([np.zeros(1, np.float32), *self.audio])
        return await asyncio.to_thread(Ears.shared().transcribe, audio)

    def __repr__(self) -> str:
        return f"captions {self.captions}, connections {self.emulator.connections and self.emulator.connections[-1]}"

    def _token(self, who: str) -> str:
        token = AccessToken(self.livekit.api_key, self.livekit.api_secret).with_identity(who)
        if who == "agent":
            token = token.with_kind("agent")
        grants = VideoGrants(room_join=True, room=f"room-{id(self)}")
        return token.with_grants(grants).with_ttl(timedelta(minutes=5)).to_jwt()

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
def livekit() -> Iterator[LiveKit]:
    gemini.import_on_main_thread()
    Ears.shared().transcribe(Voice.shared().speak_all(QUESTION)[::2])
    with LocalServer(build_server(print)) as livekit:
        yield livekit


@pytest.fixture
def calling(livekit: LiveKit) -> Any:
    """`async with calling(*moods) as call`: a call to an emulator in these moods."""

    @asynccontextmanager
    async def call(*moods: Mood, api_key: str | None = None) -> AsyncIterator[Call]:
        def compose(response: dict[str, Any]) -> str:
            return str(json.loads(response["output"])["answer"])

        emulator = GeminiEmulator(Ears.shared().transcribe, Voice.shared().speak_all, compose, *moods)
        async with emulator:
            if api_key:
                right, emulator.api_key = emulator.api_key, api_key
            one = Call(livekit, emulator)
            entering = one.__aenter__()
            async with asyncio.timeout(60):
                await entering
                if api_key:
                    emulator.api_key = right
                try:
                    yield one
                finally:
                    await one.__aexit__()

    return call


async def test_a_question_is_looked_up_and_the_answer_is_heard(calling: Any) -> None:
    async with calling() as call:
        await call.until(call.said(GREETING.split()[0]))
        await call.ask()
        await call.until(call.said(ANSWER.split()[-1]))
        await call.until(lambda: call.session.agent_state == "listening")
        (connection,) = call.emulator.connections
        print(connection.setup, connection.tool_responses, call.captions, await call.heard())
        assert connection.heard == call.queries
