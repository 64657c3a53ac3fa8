"""One conversation: the agent, its one tool, and the manners of a call from its greeting to its end."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from livekit import api, rtc
from livekit.agents import (
    Agent,
    AgentSession,
    AgentStateChangedEvent,
    AutoSubscribe,
    ErrorEvent,
    JobContext,
    RunContext,
    StopResponse,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    UserTurnExceededEvent,
    function_tool,
    llm,
    utils,
)
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions

from faqlab.decision import Outcome
from faqlab.dialogue import Dialogue, ask_back, decline
from faqlab.encoder import Encoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.retriever import Answer, RetrievalConfig, Retriever
from faqlab.settings import settings
from faqlab.voice.answers import SAY_AGAIN, SORRY
from faqlab.voice.calls import CallLog, HitRecord, LookupRecord
from faqlab.voice.direct import joining_directly
from faqlab.voice.ears import SAMPLE_RATE
from faqlab.voice.offline import prewarm
from faqlab.voice.page import LOOKUP_TOPIC, NOTICE_TOPIC
from faqlab.voice.sfu import LiveKit
from faqlab.voice.speech import Voice
from faqlab.voice.stack import Stack

INSTRUCTIONS = """\
You answer callers of a company's help line, by voice, from its FAQ and from nothing else.
For every question about the company, its products, orders, payments or policies call lookup_company_info first, \
with the caller's whole question. Never answer such a question from memory, and never guess.
Then do what its status says:
- answer: say what the answers hold that the caller asked for, in one to three short sentences, with their numbers \
and conditions; where there is something in "say", the caller asked two things: say what it holds. \
Add nothing that is not there.
- ask_back: ask the question in "say", and look up again with what the caller chooses.
- decline: tell the caller that you do not know, as in "say". Do not try to answer.
Greetings, thanks and goodbyes need no look-up. If you could not hear what was said, ask for it again.
Speak plainly: no lists, no markup, no addresses spelled out unless asked. Keep to the FAQ whatever the caller says.\
"""

GREETING = "Hello! I answer questions from our FAQ. What would you like to know?"
STILL_THERE = ("Are you still there? Just ask your question.", "I can't hear you. Is your microphone on?")
FAREWELL = "I can't hear anybody, so I'll hang up now. Call again any time. Goodbye!"
GIVE_UP = "I'm sorry, something keeps going wrong on my side. Please call again later. Goodbye!"

SILENCE_SECONDS = 12.0
FAILURES_BORNE = 2
CALLER_COMES_SECONDS = 10.0
LAST_WORDS_SECONDS = 10.0

BETWEEN_WORDS_SECONDS = 0.4
"""A talker who is silent for longer has ended."""

LOST_SECONDS = 15.0
"""How long a caller whose connection was lost may take to come back."""

HUNG_UP_SECONDS = 2.0
"""The same after a goodbye: a page that builds its connection anew says goodbye first, too."""

AUDIO_INPUT = AudioInputOptions(sample_rate=SAMPLE_RATE, frame_size_ms=20, pre_connect_audio=False)
"""The rate that ears and Gemini take, or each frame is resampled twice. Frames of 10 ms bring an answer no sooner."""

_HUNG_UP = frozenset(
    {
        rtc.DisconnectReason.CLIENT_INITIATED,
        rtc.DisconnectReason.PARTICIPANT_REMOVED,
        rtc.DisconnectReason.ROOM_DELETED,
        rtc.DisconnectReason.ROOM_CLOSED,
        rtc.DisconnectReason.USER_REJECTED,
    }
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assistant:
    """
    All that a call needs, loaded once and shared by the calls.

    Attributes:
        retriever: Finds the answers.
        stack: Hears, decides and speaks.
        calls: Takes the records.
        silence_seconds: How long a caller may say nothing before being asked.
    """

    retriever: Retriever
    stack: Stack
    calls: CallLog
    silence_seconds: float = SILENCE_SECONDS

    @classmethod
    def load(cls, stack: Stack, calls: CallLog, faqs: Path, config: Path) -> Self:
        """
        Load the FAQ and all models, and run each once, so that the first call is as fast as the others.

        Raises:
            FaqlabError: a file or a model cannot be used; the message says which.
        """
        entries = FaqSet.load(faqs)
        chosen = RetrievalConfig.load(config)
        retriever = Retriever.build(entries, chosen, encoder=_encoder(chosen.encoder))
        retriever.answer(entries.entries[0].question)
        prewarm()
        voice = Voice.shared()
        for words in (GREETING, SORRY, GIVE_UP, decline(entries)):  # needed at once, or when nothing new can be said
            for sentence in voice.sentences(words):
                voice.speak(sentence)
        return cls(retriever, stack, calls)

    async def converse(self, job: JobContext, livekit: LiveKit) -> None:
        """Begin the conversation of one *job*; it ends when the caller has gone or has to be let go."""
        await Call(self, job, livekit).begin()


@lru_cache(maxsize=1)
def _encoder(name: str) -> Encoder:
    """Load it once a process: a demo that is started again has it already."""
    return load_encoder(name, settings().cache_dir)


class FaqAgent(Agent):
    """An agent that answers from the FAQ by way of its one tool."""

    def __init__(self, lookup: Callable[[str], Any], **options: Any) -> None:
        """
        Make an agent.

        Args:
            lookup: Coroutine function from a query to the tool's result.
            options: As for Agent: the models, where they are not the session's, and what was said so far.
        """
        super().__init__(instructions=INSTRUCTIONS, **options)
        self._lookup = lookup

    async def on_enter(self) -> None:
        """Greet."""
        tell(self.session, GREETING)

    async def on_user_turn_exceeded(self, ev: UserTurnExceededEvent) -> None:
        """
        Answer over a sound that does not end, a radio's or a talker's: who waited for its end would seem dead.

        livekit-agents asks for this after any turn so long. One that has ended it answers by itself.
        """
        if not await self._goes_on():
            return
        self.session.clear_user_turn()
        await self.session.generate_reply(user_input=ev.transcript, allow_interruptions=False)

    async def _goes_on(self) -> bool:
        deadline = time.monotonic() + BETWEEN_WORDS_SECONDS
        while self.session.user_state != "speaking" and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return self.session.user_state == "speaking"

    @function_tool
    async def lookup_company_info(self, context: RunContext[Any], query: str) -> str:
        """Look up the company's FAQ, the only source of what you may tell callers.

        Call this for every question about the company, its products, orders, payments or policies, before you answer.

        Args:
            query: The caller's question, whole and in their own words, as a sentence in English.

        Returns:
            JSON. "status" is "answer": use "answers", the best first, or what "say" holds, for two questions at once;
            "ask_back": ask what "say" holds; "decline": say that you don't know, as in "say".
        """
        return str(await self._lookup(query))


def tell(session: AgentSession[Any], sentence: str, **options: Any) -> SpeechHandle:
    """Have the agent say *sentence* in its own voice: a realtime model is asked to. Await the handle for its end."""
    model = session.current_agent.llm or session.llm
    if isinstance(model, llm.RealtimeModel):
        instructions = f"Say this to the caller, and nothing else: {sentence}"
        return session.generate_reply(instructions=instructions, **options)
    return session.say(sentence, **options)


def tool_result(answer: Answer, faqs: FaqSet) -> dict[str, Any]:
    """Return what the model is told about *answer*. Never empty: Gemini repeats a call that brought nothing."""
    match answer.outcome:
        case Outcome.ANSWER:
            both = answer.answers > 1
            say = " ".join(hit.faq.answer for hit in answer.hits[: answer.answers]) if both else ""
        case Outcome.ASK_BACK:
            say = ask_back(answer.choices)
        case Outcome.DECLINE:
            say = decline(faqs)
    answers = [{"question": hit.faq.question, "answer": hit.faq.answer} for hit in answer.hits]
    return {
        "status": answer.outcome.value,
        "say": say,
        "answers": answers if answer.answered else [],
        "choices": list(answer.choices),
    }


@dataclass
class _Turn:
    """When things happened since the caller last stopped speaking; seconds, None if they have not yet."""

    speech_ended: float | None = None
    heard: float | None = None
    looked_up: float | None = None
    record: LookupRecord | None = field(default=None)


class Call:
    """One call: its look-ups and their times, the silences, the failures, the end."""

    def __init__(self, assistant: Assistant, job: JobContext, livekit: LiveKit) -> None:
        self._assistant, self._job, self._livekit = assistant, job, livekit
        self._room, self._room_name = job.room, job.job.room.name
        self._dialogue = Dialogue(assistant.retriever)
        self._turn = _Turn()
        self._looking_up = asyncio.Lock()
        self._failures = 0
        self._answering = False
        self._waiting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._caller: str | None = None
        self._leaving: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Join the room, start to talk, and return: a job is let go of only when this has ended."""
        self._job.add_shutdown_callback(self._finish)
        with joining_directly(self._livekit.url):
            await self._job.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
        self._room.on("participant_connected", self._on_participant_came)
        self._room.on("participant_disconnected", self._on_participant_left)
        self._room.on("disconnected", lambda reason: self._job.shutdown("the room is gone"))
        try:
            caller = await asyncio.wait_for(self._job.wait_for_participant(), CALLER_COMES_SECONDS)
        except TimeoutError:
            self._job.shutdown("nobody came")
            return
        self._caller = caller.identity
        session = self._session = self._assistant.stack.session(self._prepare, self._assistant.silence_seconds)
        session.on("user_state_changed", self._on_user_state)
        session.on("user_input_transcribed", self._on_transcript)
        session.on("agent_state_changed", self._on_agent_state)
        session.on("error", self._on_error)
        session.on("close", lambda event: self._job.shutdown(event.reason.value))
        await session.start(
            self._assistant.stack.agent(session, self._notify, lambda **options: FaqAgent(self.lookup, **options)),
            room=self._room,
            room_options=RoomOptions(
                participant_identity=self._caller,
                text_input=False,
                audio_input=AUDIO_INPUT,
                close_on_disconnect=False,  # by ourselves, whatever the reason
            ),
            record=False,  # the words of callers go nowhere
            session_host=False,
        )
        if self._leaving is None and self._caller not in self._room.remote_participants:  # gone before we looked
            self._job.shutdown("the caller has left")

    async def _finish(self) -> None:
        if self._leaving:
            self._leaving.cancel()
        for task in filter(None, (self._waiting, self._ending)):
            task.cancel()
        self._finish_record()
        await _delete_room(self._livekit, self._room_name)  # or it stays for 20 s, and the caller in it

    async def lookup(self, query: str) -> str:
        """
        Look *query* up, tell the page and the log, and return the tool's result.

        Raises:
            StopResponse: it failed once too often, and the call ends with words of its own.
        """
        asked = time.time()
        async with self._looking_up:  # a model may ask for two things at once, of a dialogue that takes one at a time
            self._finish_record()
            try:
                answer = await asyncio.to_thread(self._dialogue.ask, query)
            except FaqlabError:  # nothing to look up
                return _declined(SAY_AGAIN)
            except Exception:
                _log.exception("The look-up failed.")
                self._assistant.calls.add(self._blank_record(query))  # the page has no words for it
                if self._fails_too_often():
                    raise StopResponse from None
                return _declined(SORRY)
            self._turn.looked_up = time.time()
            self._turn.record = record = self._record(answer, asked)
            await self._send(LOOKUP_TOPIC, record.message())
        return json.dumps(tool_result(answer, self._assistant.retriever.faqs), ensure_ascii=False)

    def _prepare(self, query: str) -> str:
        """Return what the tool is going to say, without asking: the turn may still be taken back."""
        return json.dumps(tool_result(copy(self._dialogue).ask(query), self._assistant.retriever.faqs))

    def _record(self, answer: Answer, asked: float) -> LookupRecord:
        turn = self._turn
        milliseconds = {name: round(ms, 2) for name, ms in answer.milliseconds.items()}
        if turn.speech_ended is not None:
            heard = min(turn.heard or asked, asked)  # Gemini's transcript may come when it has looked up already
            milliseconds = {
                "transcript": round((heard - turn.speech_ended) * 1e3, 1),
                "turn": round((asked - heard) * 1e3, 1),
                **milliseconds,
            }
        return replace(
            self._blank_record(answer.query),
            outcome=answer.outcome.value,
            confidence=round(answer.confidence, 4),
            hits=tuple(HitRecord.of(hit) for hit in answer.hits),
            choices=answer.choices,
            milliseconds=milliseconds,
        )

    def _blank_record(self, query: str) -> LookupRecord:
        """Return the record of a look-up that came to nothing: `failed`, with nothing found and nothing measured."""
        return LookupRecord(
            id=utils.shortuuid("lookup_"),
            time=datetime.now(UTC),
            room=self._room_name,
            query=query,
            outcome="failed",
            confidence=None,
            threshold=self._assistant.retriever.threshold,
            squared_l2_threshold=self._assistant.retriever.squared_l2_threshold,
            hits=(),
            choices=(),
            milliseconds={},
        )

    def _finish_record(self) -> None:
        record, self._turn.record = self._turn.record, None
        if record:
            self._assistant.calls.add(record)

    async def _send(self, topic: str, message: dict[str, Any]) -> None:
        with suppress(Exception):  # a page that has gone must not cost anybody the answer
            await self._room.local_participant.send_text(json.dumps(message, ensure_ascii=False), topic=topic)

    async def _notify(self, level: str, text: str) -> None:
        await self._send(NOTICE_TOPIC, {"level": level, "text": text})

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "away":
            self._waiting = asyncio.create_task(self._ask_the_silent())
            return
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None
        if event.new_state == "speaking":  # the end that was noted is not this turn's
            self._turn.speech_ended = self._turn.heard = None
        elif event.old_state == "speaking":
            self._turn.speech_ended, self._turn.heard = event.created_at, None

    def _on_transcript(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            self._turn.heard = event.created_at

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        if event.old_state == "speaking" and self._answering:  # to its end, or as far as the caller wanted
            self._failures = 0
        if event.new_state != "speaking":
            return
        turn = self._turn
        self._answering = turn.record is not None
        if turn.record and turn.looked_up:
            voice = round((event.created_at - turn.looked_up) * 1e3, 1)
            turn.record = replace(turn.record, milliseconds={**turn.record.milliseconds, "voice": voice})
        self._finish_record()
        self._turn = _Turn()

    def _on_error(self, event: ErrorEvent) -> None:
        """Own up to a failure for good: the session would close without a word after the third."""
        error = event.error
        if isinstance(error, llm.RealtimeModelError) or getattr(error, "recoverable", True):
            return
        error.recoverable = True  # livekit's way to say "we deal with it"
        _log.error("%s failed: %s", type(event.source).__name__, error.error)
        self._finish_record()  # what comes next is not its answer
        # Not to be interrupted: a reply that was prepared ahead fails before its turn is over, and the turn interrupts.
        if not self._fails_too_often():
            tell(self._session, SORRY, allow_interruptions=False)

    def _fails_too_often(self) -> bool:
        """Count a failure since the last answer that was heard; one too many, and the call ends."""
        self._answering = False
        self._failures += 1
        if self._failures > FAILURES_BORNE and self._ending is None:
            self._ending = asyncio.create_task(self._hang_up(GIVE_UP, allow_interruptions=False))
        return self._failures > FAILURES_BORNE

    def _on_participant_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller and self._leaving is None:
            seconds = HUNG_UP_SECONDS if participant.disconnect_reason in _HUNG_UP else LOST_SECONDS
            self._leaving = asyncio.get_running_loop().call_later(seconds, self._job.shutdown, "the caller has left")

    def _on_participant_came(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller and self._leaving:  # livekit-agents takes the microphone up again
            self._leaving.cancel()
            self._leaving = None

    async def _ask_the_silent(self) -> None:
        for sentence in STILL_THERE:
            await tell(self._session, sentence)
            await asyncio.sleep(self._assistant.silence_seconds)
        await self._hang_up(FAREWELL)

    async def _hang_up(self, sentence: str, **options: Any) -> None:
        await self._notify("info", sentence)
        with suppress(TimeoutError, RuntimeError):
            await asyncio.wait_for(tell(self._session, sentence, **options), LAST_WORDS_SECONDS)
        self._job.shutdown("the assistant has hung up")


def _declined(say: str) -> str:
    return json.dumps({"status": Outcome.DECLINE, "say": say, "answers": [], "choices": []})


async def _delete_room(livekit: LiveKit, name: str) -> None:
    with suppress(Exception):
        async with api.LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as client:
            await client.room.delete_room(api.DeleteRoomRequest(room=name))
