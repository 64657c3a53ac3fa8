"""
Four real calls through a livekit-server: spoken questions in, spoken answers out; and a call's decisions without one.

What is asserted is what was said and looked up, never when.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import AgentStateChangedEvent, APIError, ErrorEvent, UserStateChangedEvent, tts
from livekit.api import AccessToken, ListRoomsRequest, LiveKitAPI, RoomAgentDispatch, RoomConfiguration, VideoGrants
from pydantic import SecretStr

from benchmarks.call_audio import transcribe
from benchmarks.gemini_emulator import GREETING, GeminiEmulator, Mood
from benchmarks.scripted_caller import ScriptedCaller
from benchmarks.words import normalise_words
from faqlab import replies
from faqlab.config import RetrievalConfig
from faqlab.conversation import Conversation
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.lookup_log import STAGES, LookupLog, LookupRecord
from faqlab.retriever import Retriever
from faqlab.settings import Settings
from faqlab.small_talk import SmallTalk
from faqlab.voice import call as call_module
from faqlab.voice import gemini
from faqlab.voice import pipeline as pipeline_module
from faqlab.voice.agent import Session
from faqlab.voice.call import FEEDBACK_TOPIC, NOTICE_TOPIC, Assistant, Call
from faqlab.voice.livekit_server import LiveKit
from faqlab.voice.offline import load_speech, start_offline, turn_seconds
from faqlab.voice.pipeline import Pipeline
from faqlab.voice.tts import Synthesizer
from faqlab.voice.worker import Worker

PARCEL, PARCEL_ANSWER = "Where is my parcel?", "Follow the link in your shipping email."
PAY, PAY_ANSWER = "How can I pay?", "You can pay by card, or by invoice."
UNKNOWN = "Who won the chess tournament in nineteen eighty?"


@pytest.fixture
def conversation(short_retriever: Retriever, small_talk: SmallTalk) -> Conversation:
    return Conversation(short_retriever, small_talk)


@contextmanager
def answering(livekit: LiveKit, conversation: Conversation, start: Any = start_offline) -> Iterator[LookupLog]:
    """Run a worker whose calls *start* as given; yields the log of their look-ups."""
    load_speech((replies.GREETING, replies.SORRY))
    pipeline = Pipeline("tested", load_speech, start)
    assistant = Assistant(conversation.retriever, conversation.small_talk, pipeline, LookupLog())
    with Worker(livekit, assistant, "tested", 4):
        yield assistant.records


def caller(livekit: LiveKit, room: str) -> ScriptedCaller:
    """A caller who is patient enough for a slow machine."""
    token = AccessToken(livekit.api_key, livekit.api_secret).with_identity("caller")
    token = token.with_grants(VideoGrants(room_join=True, room=room))
    token = token.with_room_config(RoomConfiguration(agents=[RoomAgentDispatch(agent_name="tested")]))
    return ScriptedCaller(livekit.url, token.to_jwt(), timeout=90)


async def said(caller: ScriptedCaller, *sentences: str, query: str = "") -> bool:
    """Ask *query*, and listen until all *sentences* were spoken."""
    reply = (await caller.ask(query)).reply
    while not all(normalise_words(sentence) in normalise_words(reply) for sentence in sentences):
        reply += " " + (await caller.greeting()).reply
    return True


def mostly(sentence: str, heard: str) -> bool:
    """Whether at least half of the words of *sentence* were heard: a busy machine loses some of the sound."""
    words = normalise_words(sentence).split()
    return 2 * len(set(words) & set(normalise_words(heard).split())) >= len(set(words))


async def test_an_offline_call_is_answered_from_the_faq(livekit_server: LiveKit, conversation: Conversation) -> None:
    with answering(livekit_server, conversation) as records:
        async with caller(livekit_server, "offline") as calling:
            assert await said(calling, replies.GREETING)
            heard = await calling.ask(PAY, transcribe_reply=True)
            assert mostly(PAY, heard.transcript)
            assert mostly(PAY_ANSWER, heard.reply_transcribed)
            [lookup] = heard.lookups
            assert (lookup["outcome"], lookup["reason"], lookup["hits"][0]["id"]) == ("answer", "confident", "pay")
            unknown = await calling.ask(UNKNOWN)
            assert [lookup["outcome"] for lookup in unknown.lookups] == ["decline"]
            assert "doesn't cover that" in unknown.reply
        async with LiveKitAPI(livekit_server.url, livekit_server.api_key, livekit_server.api_secret) as api:
            while (await api.room.list_rooms(ListRoomsRequest(names=["offline"]))).rooms:
                await asyncio.sleep(0.1)
    [record] = [record for record in records.records if record.id == lookup["id"]]
    assert record.room == "offline"
    assert set(record.milliseconds) == set(STAGES)


GIFT_CARD = "How can I buy a gift card?"
GIFT_CARD_ANSWER = "In any of our shops, or on our page. It comes by email or by post. You can use it for three years."


async def test_an_answer_over_which_the_caller_says_okay_goes_on_to_its_end(
    livekit_server: LiveKit, short_config: Path, encoder: Encoder, small_talk: SmallTalk, tmp_path: Path
) -> None:
    faqs = FaqSet((Faq(id="gift", question=GIFT_CARD, answer=GIFT_CARD_ANSWER),))
    retriever = Retriever.build(faqs, RetrievalConfig.load(short_config), encoder=encoder, cache_dir=tmp_path)
    with answering(livekit_server, Conversation(retriever, small_talk)) as records:
        async with caller(livekit_server, "backchannel") as calling:
            assert await said(calling, replies.GREETING)
            reply = (await calling.ask(GIFT_CARD, interrupt="Okay.", interrupt_after=2.0)).reply
            while not normalise_words(reply).endswith(normalise_words(GIFT_CARD_ANSWER)[-20:]):
                reply += " " + (await calling.greeting()).reply
    assert normalise_words(reply) == normalise_words(GIFT_CARD_ANSWER)
    assert [record.query for record in records.records] == [GIFT_CARD]


async def start_gemini(emulator: GeminiEmulator, session: Session, notify: Any, **options: Any) -> None:
    settings = Settings(google_api_key=SecretStr(emulator.api_key))  # type: ignore[call-arg]
    agent = gemini.gemini_agent(settings, emulator.http_options)
    await gemini.Failover(session, notify).start(agent, **options)


@contextmanager
def gemini_answering(livekit: LiveKit, conversation: Conversation, emulator: GeminiEmulator) -> Iterator[LookupLog]:
    async def start(session: Session, notify: Any, **options: Any) -> None:
        await start_gemini(emulator, session, notify, **options)

    with answering(livekit, conversation, start) as records:
        yield records


def emulator(*moods: Mood) -> GeminiEmulator:
    return GeminiEmulator(*moods, transcribe=transcribe, speak=Synthesizer.shared().speak_all)


async def test_a_call_on_gemini_is_answered_from_the_faq(livekit_server: LiveKit, conversation: Conversation) -> None:
    async with emulator() as google:
        with gemini_answering(livekit_server, conversation, google) as records:
            async with caller(livekit_server, "gemini") as calling:
                assert await said(calling, GREETING)
                heard = await calling.ask(PAY, transcribe_reply=True)
                assert mostly(PAY_ANSWER, heard.reply_transcribed)
                assert [lookup["hits"][0]["id"] for lookup in heard.lookups] == ["pay"]
        [connection] = google.connections
        assert connection.said == [GREETING, PAY_ANSWER]
    assert [(record.room, record.outcome) for record in records.records] == [("gemini", "answer")]


async def test_numbers_that_gemini_invents_are_flagged(livekit_server: LiveKit, conversation: Conversation) -> None:
    async with emulator(Mood.INVENTING) as google:
        with gemini_answering(livekit_server, conversation, google) as records:
            async with caller(livekit_server, "inventing") as calling:
                assert await said(calling, GREETING)
                await calling.ask(PAY)
    [record] = records.records
    assert record.hits[0]["id"] == "pay"
    assert record.invented == ("ninety", "twelve")


async def test_a_call_that_gemini_leaves_continues_offline_in_the_same_room(
    livekit_server: LiveKit, conversation: Conversation
) -> None:
    notices: list[dict[str, str]] = []

    async def read(reader: rtc.TextStreamReader) -> None:
        notices.append(json.loads(await reader.read_all()))

    async with emulator(Mood.STUCK) as google:
        with gemini_answering(livekit_server, conversation, google) as records:
            async with caller(livekit_server, "failover") as calling:
                reading: list[asyncio.Task[None]] = []
                calling.room.register_text_stream_handler(
                    NOTICE_TOPIC, lambda reader, _: reading.append(asyncio.create_task(read(reader)))
                )
                assert await said(calling, GREETING)
                assert await said(calling, replies.APOLOGY, PAY_ANSWER, query=PAY)
                assert await said(calling, PARCEL_ANSWER, query=PARCEL)
                await asyncio.gather(*reading)
                agents = calling.room.remote_participants.values()
                assert "hold" in {track.name for agent in agents for track in agent.track_publications.values()}
    assert notices[-1] == {"level": "warning", "text": replies.APOLOGY}
    assert all(notice["text"] == replies.HOLD for notice in notices[:-1])
    assert [record.query for record in records.records] == [PAY, PARCEL]


class SessionStandIn:
    """A session that only takes down what is said in it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.agent_state = "listening"
        self.current_agent = SimpleNamespace(llm=None)

    def say(self, sentence: str, **options: Any) -> asyncio.Future[None]:
        self.said.append(sentence)
        spoken = asyncio.get_running_loop().create_future()
        spoken.set_result(None)
        return spoken


class JobStandIn:
    """A job whose room is nowhere."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.room = SimpleNamespace(name="nowhere", local_participant=self, remote_participants={})
        self.job = SimpleNamespace(room=self.room, metadata="")

    async def send_text(self, text: str, topic: str) -> None:
        self.sent.append(json.loads(text))

    def shutdown(self, reason: str) -> None:
        self.ended.set_result(reason)


@pytest.fixture
async def quiet_call(short_retriever: Retriever, small_talk: SmallTalk) -> tuple[Call, JobStandIn, SessionStandIn]:
    """A call without a room, in which the caller's silence lasts no time."""
    job, session = JobStandIn(), SessionStandIn()
    pipeline = Pipeline("none", lambda texts: None, start_offline)
    assistant = Assistant(short_retriever, small_talk, pipeline, LookupLog(), silence_seconds=0)
    livekit = LiveKit("ws://127.0.0.1:9", "key", "secret")
    call = Call(assistant, job, livekit)  # type: ignore[arg-type]
    call._session = session  # type: ignore[assignment]
    return call, job, session


Quiet = tuple[Call, JobStandIn, SessionStandIn]


async def test_a_silent_caller_is_prompted_twice_and_then_the_call_ends(quiet_call: Quiet) -> None:
    call, job, session = quiet_call
    job.room.remote_participants = {"caller": SimpleNamespace(track_publications={"microphone": object()})}
    call._caller = "caller"
    call._on_user_state(UserStateChangedEvent(old_state="listening", new_state="away"))
    assert await job.ended == "the assistant has hung up"
    assert session.said == [*replies.STILL_THERE, replies.FAREWELL]
    assert job.sent == [{"level": "info", "text": replies.FAREWELL}]


async def test_a_caller_who_speaks_after_a_prompt_stays(quiet_call: Quiet) -> None:
    call, job, _ = quiet_call
    call._on_user_state(UserStateChangedEvent(old_state="listening", new_state="away"))
    prompting = call._prompting
    call._on_user_state(UserStateChangedEvent(old_state="away", new_state="speaking"))
    assert prompting
    await asyncio.wait([prompting])
    assert prompting.cancelled()
    assert not job.ended.done()


def broken() -> ErrorEvent:
    """An error that livekit closes sessions for after some of its kind."""
    error = tts.TTSError(timestamp=0, label="tts", error=APIError("broken on purpose"), recoverable=False)
    return ErrorEvent(error=error, source=None)


async def test_models_that_fail_before_anything_is_heard_are_apologised_for_twice_and_then_the_call_ends(
    quiet_call: Quiet,
) -> None:
    call, job, session = quiet_call
    events = [broken() for _ in range(4)]
    for event in events:
        call._on_error(event)
    assert await job.ended == "the assistant has hung up"
    assert session.said == [replies.SORRY, replies.SORRY, replies.GIVE_UP]
    assert all(event.error.recoverable for event in events), "livekit leaves the session open"


async def test_a_call_goes_on_as_long_as_apologies_are_heard(quiet_call: Quiet) -> None:
    call, job, session = quiet_call
    for _ in range(5):
        call._on_error(broken())
        call._on_agent_state(AgentStateChangedEvent(old_state="thinking", new_state="speaking"))
    assert session.said == [replies.SORRY] * 5
    assert not job.ended.done()


class Text:
    """A text stream of one chunk, from the caller's page."""

    def __init__(self, topic: str, text: str) -> None:
        self.info, self._chunks = SimpleNamespace(topic=topic), [text]

    async def __anext__(self) -> str:
        if not self._chunks:
            raise StopAsyncIteration
        return self._chunks.pop()

    def close(self) -> None:
        """Drop what is left."""


async def test_callers_rate_their_own_answers_alone_and_as_helpful_or_not(quiet_call: Quiet) -> None:
    call, _, _ = quiet_call
    log = call._assistant.records
    own, strangers = LookupRecord(PAY, "nowhere", None), LookupRecord(PAY, "elsewhere", None)
    for record in (own, strangers):
        log.add(record)
    verdicts = []
    for text in (f"{strangers.id} yes", f"{own.id} maybe", own.id, f"{own.id} yes", f"{own.id} no"):
        await call._read(Text(FEEDBACK_TOPIC, text))  # type: ignore[arg-type]
        verdicts.append([record.helpful for record in log.records])
    assert verdicts == [[None, None]] * 3 + [[True, None], [False, None]]


@pytest.mark.parametrize(
    ("reason", "patience"),
    [(rtc.DisconnectReason.CLIENT_INITIATED, "HUNG_UP_SECONDS"), (rtc.DisconnectReason.SIGNAL_CLOSE, "LOST_SECONDS")],
    ids=["hung up", "lost the connection"],
)
async def test_a_caller_who_leaves_may_come_back_for_a_while(
    quiet_call: Quiet, monkeypatch: pytest.MonkeyPatch, reason: Any, patience: str
) -> None:
    call, job, session = quiet_call
    call._caller = "caller"
    participant: Any = SimpleNamespace(identity="caller", disconnect_reason=reason)
    guest: Any = SimpleNamespace(identity="guest", disconnect_reason=reason)
    call._on_participant_left(guest)
    assert call._leaving is None
    call._on_participant_left(participant)
    call._on_participant_came(participant)
    assert call._leaving is None
    assert session.said == [replies.CUT_OFF]
    monkeypatch.setattr(call_module, patience, 0)
    call._on_participant_left(participant)
    assert await job.ended == "the caller has left"


async def test_a_call_that_takes_too_long_ends_with_a_sentence(quiet_call: Quiet) -> None:
    call, job, session = quiet_call
    call._end(replies.TIME_IS_UP)
    call._end(replies.GIVE_UP)  # it ends once
    assert await job.ended == "the assistant has hung up"
    assert session.said == [replies.TIME_IS_UP]


@pytest.mark.parametrize(
    ("cores", "seconds", "lines"), [(2, 0.1, 4), (2, 0.8, 2), (1, 3.0, 1), (0.5, 0.1, 1), (8, 0, 16)]
)
def test_an_agent_takes_two_calls_a_core_and_fewer_on_a_slow_machine(
    monkeypatch: pytest.MonkeyPatch, cores: float, seconds: float, lines: int
) -> None:
    monkeypatch.setattr(pipeline_module, "get_cpu_monitor", lambda: SimpleNamespace(cpu_count=lambda: cores))
    monkeypatch.setattr(pipeline_module.os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert Pipeline("tested", load_speech, start_offline, lambda: seconds).lines() == lines


def test_how_long_a_turn_takes_is_measured() -> None:
    load_speech((replies.GREETING,))
    assert 0 < turn_seconds() < 60
