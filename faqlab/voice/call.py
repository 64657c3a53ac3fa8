"""One call, from the caller's arrival to the end, including silence, failures and lost connections."""

import asyncio
import json
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil
from livekit import rtc
from livekit.agents import CloseReason, JobContext, llm, room_io
from livekit.agents.types import TOPIC_CHAT
from livekit.agents.voice import events

from faqlab import replies
from faqlab.config import RetrievalConfig
from faqlab.conversation import Conversation
from faqlab.faqs import FaqSet
from faqlab.lookup_log import LookupLog
from faqlab.retriever import Retriever
from faqlab.settings import settings
from faqlab.small_talk import SmallTalk
from faqlab.text import is_blank
from faqlab.voice.agent import Lookups, speak
from faqlab.voice.livekit_server import LiveKit
from faqlab.voice.pipeline import Pipeline, new_session

# Text streams to the caller's page: `LookupRecord.message()`, and `{"level": "info" or "warning", "text": …}`.
LOOKUP_TOPIC, NOTICE_TOPIC = "faqlab.lookup", "faqlab.notice"
FEEDBACK_TOPIC = "faqlab.feedback"  # from the page: a look-up's id, and after a space whether it helped: "yes" or "no"

LOST_SECONDS = 15.0  # how long the call waits for a caller whose connection was lost
HUNG_UP_SECONDS = 0.5  # how long it waits after a caller leaves: a client that restarts with the same token is back
READING_TIMES = 5  # how many times as long it waits for a caller who types, before it asks whether they are there
LONGEST_TEXT, EACH_MINUTE = 500, 20  # characters of a typed question; how many texts a caller may send
MOST_FAILURES = 2  # in a row without a word that was heard; the next one ends the call
COMES_SECONDS = 3.0  # how long it waits for a caller, who was there when the agent was dispatched

AGAIN = "again"  # the metadata of a dispatch to a room whose agent was lost
LEFT, NOBODY, HUNG_UP = "the caller has left", "nobody came", "the assistant has hung up"
OVER = (LEFT, NOBODY, HUNG_UP, CloseReason.USER_INITIATED.value)
"""Reasons for which a job ends with its call; after any other, another agent may go on with it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assistant:
    """What all calls share."""

    retriever: Retriever
    small_talk: SmallTalk
    pipeline: Pipeline
    records: LookupLog
    silence_seconds: float = 12.0  # how long a caller may say nothing before being prompted

    @classmethod
    def load(cls, pipeline: Pipeline, records: LookupLog, faqs: Path, config: Path) -> Self:
        """Load the FAQ and the models, and run each once, so that the first call is as fast as the others."""
        entries, chosen = FaqSet.load(faqs), RetrievalConfig.load(config)
        retriever = Retriever.build(entries, chosen)
        retriever.answer(entries.entries[0].question)
        # Sentences that are needed at once, or when synthesis fails.
        pipeline.prewarm((replies.GREETING, replies.CUT_OFF, replies.SORRY, replies.decline(entries)))
        return cls(retriever, SmallTalk.load(retriever.encoder), pipeline, records)

    async def converse(self, job: JobContext, livekit: LiveKit) -> None:
        """Begin the call of *job*, which ends when the caller has gone or the assistant hangs up."""
        await Call(self, job, livekit).begin()


class Call:
    """One call in its room; `begin` returns when the conversation has started."""

    def __init__(self, assistant: Assistant, job: JobContext, livekit: LiveKit) -> None:
        self._assistant, self._job, self._livekit, self._room = assistant, job, livekit, job.room
        conversation = Conversation(assistant.retriever, assistant.small_talk)
        self._lookups = Lookups(conversation, assistant.records, job.job.room.name, partial(self._send, LOOKUP_TOPIC))
        if job.job.metadata == AGAIN:
            self._lookups.greeting = replies.CUT_OFF
        self._session = new_session(self._lookups, assistant.silence_seconds)
        self._texts, self._reading = deque[float](maxlen=EACH_MINUTE), set[asyncio.Task[None]]()
        self._failures = 0  # since anything was heard
        self._prompting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._caller: str | None = None
        self._leaving: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Join the room, wait for the caller, and start the session."""
        self._job.add_shutdown_callback(self._finish)
        networks = psutil.net_if_stats().values()  # LiveKit's SDK uses no loopback address, and can't be told to
        if not any(network.isup and "loopback" not in network.flags for network in networks):
            log.error("A caller can't be connected, because this machine has no network; any network will do.")
        await self._job.connect()
        others = self._room.remote_participants.values()
        if any(other.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT for other in others):
            self._job.shutdown("another agent is there")
            return
        self._room.on("participant_connected", self._on_participant_came)
        self._room.on("participant_disconnected", self._on_participant_left)
        try:
            self._caller = (await asyncio.wait_for(self._job.wait_for_participant(), COMES_SECONDS)).identity
        except TimeoutError:
            self._job.shutdown(NOBODY)
            return
        for topic in (TOPIC_CHAT, FEEDBACK_TOPIC):
            self._room.register_text_stream_handler(topic, self._on_text)
        self._session.on("user_state_changed", self._on_user_state)
        self._session.on("user_input_transcribed", self._on_transcript)
        self._session.on("agent_state_changed", self._on_agent_state)
        self._session.on("conversation_item_added", self._on_item)
        self._session.on("error", self._on_error)
        self._session.on("close", lambda event: self._job.shutdown(event.reason.value))
        options = room_io.RoomOptions(
            participant_identity=self._caller,
            text_input=False,  # livekit would read texts of any length
            # The rate of Whisper and Gemini, so no frame is resampled twice.
            audio_input=room_io.AudioInputOptions(sample_rate=16_000, frame_size_ms=20, pre_connect_audio=False),
            close_on_disconnect=False,  # a caller may come back
        )
        await self._assistant.pipeline.start(
            self._session, self._notify, room=self._room, room_options=options, record=False, session_host=False
        )
        if self._leaving is None and self._caller not in self._room.remote_participants:
            self._job.shutdown(LEFT)
        asyncio.get_running_loop().call_later(60 * settings().call_minutes, self._end, replies.TIME_IS_UP)

    async def _finish(self, reason: str) -> None:
        for pending in (self._leaving, self._prompting, self._ending):
            if pending:
                pending.cancel()
        self._lookups.log_pending()
        if reason in OVER:  # JobContext.delete_room would log a traceback if the server is gone
            await self._livekit.delete_room(self._job.job.room.name)

    async def _notify(self, level: str, text: str) -> None:
        await self._send(NOTICE_TOPIC, {"level": level, "text": text})

    async def _send(self, topic: str, message: dict[str, Any]) -> None:
        with suppress(Exception):  # the call must go on even if the page is gone
            await self._room.local_participant.send_text(json.dumps(message, ensure_ascii=False), topic=topic)

    def _on_text(self, reader: rtc.TextStreamReader, sender: str) -> None:
        self._reading = {task for task in self._reading if not task.done()} | {asyncio.create_task(self._read(reader))}

    async def _read(self, reader: rtc.TextStreamReader) -> None:
        """Reply to a typed question, or log how the caller rates an answer; refuse what is too long or too much."""
        text, now = "", asyncio.get_running_loop().time()
        too_many = len(self._texts) == EACH_MINUTE and now - self._texts[0] < 60
        if not too_many:
            self._texts.append(now)
        with suppress(rtc.StreamError):  # the caller is gone
            while not too_many and len(text) <= LONGEST_TEXT and (chunk := await anext(reader, "")):
                text += chunk
        reader.close()  # the rest is dropped as it comes
        if too_many or len(text) > LONGEST_TEXT:
            await self._notify("warning", replies.TYPE_SLOWER if too_many else replies.TYPE_LESS)
        elif reader.info.topic == FEEDBACK_TOPIC:
            record_id, _, helped = text.partition(" ")
            if helped in ("yes", "no"):
                self._assistant.records.update(self._lookups.room, record_id, helpful=helped == "yes")
        elif not is_blank(text):
            self._session.reset_away_timer()
            with suppress(RuntimeError):  # a sentence that can't be interrupted comes first
                await self._session.interrupt()
            with suppress(RuntimeError):  # the call is ending
                self._session.generate_reply(user_input=text)

    def _on_user_state(self, event: events.UserStateChangedEvent) -> None:
        if event.new_state == "away":
            self._prompting = asyncio.create_task(self._prompt())
        elif self._prompting:
            self._prompting.cancel()
        if "speaking" in (event.old_state, event.new_state):
            ended = event.created_at if event.old_state == "speaking" else None
            self._lookups.speech_ended, self._lookups.transcribed = ended, None

    def _on_transcript(self, event: events.UserInputTranscribedEvent) -> None:
        if event.is_final:
            self._lookups.transcribed = event.created_at

    def _on_agent_state(self, event: events.AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._failures = 0
            self._lookups.log_pending(speaking_since=event.created_at)
            self._lookups.speech_ended = self._lookups.transcribed = None

    def _on_item(self, event: events.ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage) and event.item.role == "assistant":
            self._lookups.check(event.item.text_content or "")

    def _on_error(self, event: events.ErrorEvent) -> None:
        """Apologise for a failure of STT, LLM or TTS, and keep the session, which livekit would close after a few."""
        error = event.error
        if isinstance(error, llm.RealtimeModelError) or getattr(error, "recoverable", True):
            return
        error.recoverable = True  # otherwise livekit counts it
        log.error("%s failed: %s", type(event.source).__name__, error.error)
        self._lookups.log_pending()  # what is spoken next isn't the answer to it
        # If a prepared reply fails while the caller is still speaking, the end of their turn would interrupt this one.
        self._failures += 1
        if self._failures <= MOST_FAILURES:
            speak(self._session, replies.SORRY, allow_interruptions=False)
        else:  # not even that can be spoken
            self._end(replies.GIVE_UP)

    def _end(self, sentence: str) -> None:
        self._ending = self._ending or asyncio.create_task(self._hang_up(sentence, allow_interruptions=False))

    def _on_participant_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller and self._leaving is None:
            hung_up = participant.disconnect_reason == rtc.DisconnectReason.CLIENT_INITIATED
            seconds = HUNG_UP_SECONDS if hung_up else LOST_SECONDS
            self._leaving = asyncio.get_running_loop().call_later(seconds, self._job.shutdown, LEFT)

    def _on_participant_came(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller and self._leaving:
            self._leaving.cancel()
            self._leaving = None
            if self._session.agent_state == "listening":  # what it said when they were away is lost
                speak(self._session, replies.CUT_OFF)

    async def _prompt(self) -> None:
        caller = self._room.remote_participants.get(self._caller or "")
        types = self._texts or not (caller and caller.track_publications)  # there is no microphone
        if types:  # they may be reading
            await asyncio.sleep(READING_TIMES * self._assistant.silence_seconds)
        for sentence in replies.STILL_TYPING if types else replies.STILL_THERE:
            await speak(self._session, sentence)
            await asyncio.sleep(self._assistant.silence_seconds)
        await self._hang_up(replies.FAREWELL)

    async def _hang_up(self, sentence: str, **options: Any) -> None:
        await self._notify("info", sentence)
        with suppress(TimeoutError, RuntimeError):
            await asyncio.wait_for(speak(self._session, sentence, **options), timeout=10)
        self._job.shutdown(HUNG_UP)
