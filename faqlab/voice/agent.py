"""The agent: its instructions, its tool, and the look-ups that the tool makes."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from livekit.agents import StopResponse, UserTurnExceededEvent, function_tool, llm, stt
from livekit.agents.voice import Agent, AgentSession, ModelSettings, RunContext, SpeechHandle

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.decision import Outcome, Reason
from faqlab.lookup_log import LookupLog, LookupRecord
from faqlab.retriever import Answer
from faqlab.settings import PROJECT_ROOT
from faqlab.text import has_words
from faqlab.voice.grounding import invented_numbers

INSTRUCTIONS = PROJECT_ROOT / "data/instructions.txt"
BETWEEN_WORDS_SECONDS = 0.3  # a longer silence counts as a pause
BACKCHANNELS = {"acknowledge", "yes", "continue", "thanks", "unclear"}  # these neither ask nor object
AGREES_SECONDS = 2.0  # before the end of a reply, a "yes" already answers the question at its end
LONG = 40  # words; no labelled query is longer
LEAST_CONFIDENCE = 0.36  # of a transcript; below, it's another language or misheard: see benchmarks/languages.py

log = logging.getLogger(__name__)

Notify = Callable[[str, str], Awaitable[None]]  # shows a text on the page, after its level: "info" or "warning"


@dataclass
class Lookups:
    """The look-ups of one conversation: the session's `userdata`, from which the agent's tool works."""

    conversation: Conversation
    records: LookupLog
    room: str = ""
    publish: Callable[[dict[str, Any]], Awaitable[None]] | None = None  # sends a record to the caller's page
    greeting: str = replies.GREETING  # with which an agent begins
    answer: Answer | None = None  # of the latest look-up; None if that failed
    speech_ended: float | None = None  # when the caller last stopped speaking; None if they're speaking or never did
    transcribed: float | None = None  # when that speech had been transcribed
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _pending: tuple[LookupRecord, float] | None = None  # the latest look-up and when it was done, not yet logged
    _logged: str = ""  # the id of the latest look-up, logged when its answer was heard
    _given: set[str] = field(default_factory=set)  # what the caller and the entries found have said so far

    async def look_up(self, query: str) -> str:
        """Look *query* up, publish and log it; return what the model gets, as JSON."""
        asked = time.time()
        async with self._lock:  # a model may call the tool twice at once
            self.log_pending()
            retriever, self.answer, self._logged = self.conversation.retriever, None, ""
            query = question_in(query)
            record = LookupRecord(query, self.room, retriever.config.decline_below or None)
            try:
                answer = await asyncio.to_thread(self.conversation.ask, query)
            except Exception:
                log.exception("A look-up failed.")
                self.records.add(record)
                return json.dumps({"status": Outcome.DECLINE, "say": replies.SORRY, "answers": [], "choices": []})
            self.answer = replace(answer, milliseconds={**self._waited(asked), **answer.milliseconds})
            record = replace(record, **self.answer.as_dict())
            self._given |= {query, *(f"{hit.faq.question} {hit.faq.answer}" for hit in answer.hits)}
            self._pending = record, time.time()
            if self.publish:
                await self.publish(record.message())
            return json.dumps(replies.tool_result(answer, retriever.faqs), ensure_ascii=False)

    def log_pending(self, speaking_since: float | None = None) -> None:
        """Log the latest look-up, if it isn't logged yet, with the time until its answer was heard."""
        if self._pending is None:
            return
        (record, found), self._pending = self._pending, None
        if speaking_since is not None:
            voice = round((speaking_since - found) * 1e3, 2)
            record = replace(record, milliseconds={**record.milliseconds, "voice": voice})
            self._logged = record.id
        self.records.add(record)

    def check(self, said: str) -> None:
        """Log the latest look-up again if the reply to it has numbers that stand in no entry that was found so far."""
        record_id, self._logged = self._logged, ""
        if record_id and (invented := invented_numbers(said, [*self._given, replies.contact()])):
            self.records.update(self.room, record_id, invented=invented)

    def _waited(self, asked: float) -> dict[str, float]:
        if self.speech_ended is None:
            return {}
        transcribed = min(self.transcribed or asked, asked)  # Gemini may send the transcript after its tool call
        return {"transcript": (transcribed - self.speech_ended) * 1e3, "turn": (asked - transcribed) * 1e3}


class FaqAgent(Agent):
    """An agent that answers from the FAQ. If it takes over a call with *unanswered* words, it replies to them."""

    DEFAULT_TOOL = "lookup_company_info"  # the model can call every method with `@function_tool`

    def __init__(self, unanswered: bool = False, **options: Any) -> None:
        super().__init__(instructions=INSTRUCTIONS.read_text(encoding="utf-8"), **options)
        self._unanswered = unanswered
        self._lookup: RunContext[Lookups] | None = None  # of the latest call of the tool
        self._unsure = 0  # how often in a row the transcript was too unsure to be looked up

    async def on_enter(self) -> None:
        speak(self.session, self.session.userdata.greeting)
        if self._unanswered:
            self.session.generate_reply()

    @function_tool
    async def lookup_company_info(self, context: RunContext[Lookups], query: str) -> str:
        """Look up the company's FAQ, before you answer any question about the company.

        Args:
            query: The caller's question, whole and in their own words, as a sentence in English.
        """
        self._lookup = context
        return await context.userdata.look_up(query)

    async def stt_node(self, audio: Any, model_settings: ModelSettings) -> AsyncIterator[stt.SpeechEvent | str]:
        """Transcribe *audio*, without the words over a reply that neither ask nor object: it goes on."""
        from faqlab.voice.endpointing import REJOIN_S  # here, because it imports Whisper, and Gemini needs none

        before, now = ("", 0.0), asyncio.get_running_loop().time
        async for event in Agent.default.stt_node(self, audio, model_settings):
            is_final = event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
            if event.type == stt.SpeechEventType.START_OF_SPEECH and now() > before[1] + REJOIN_S:
                before = "", 0.0
            words = event.alternatives[0] if event.alternatives else None
            if words and (speech := self.session.current_speech):
                # Who goes on soon after a turn is transcribed together with it.
                added = replace(words, text=words.text.removeprefix(before[0]))
                is_backchannel = await asyncio.to_thread(self._is_backchannel, added)
                if is_backchannel and not (speech.done() or speech.interrupted):
                    self._resume(speech)
                    if is_final and has_words(added.text):
                        speech.add_done_callback(partial(self._take_agreement, added.text, now()))
                    continue
            if is_final and words:
                before = words.text, now()
            yield event

    def _is_backchannel(self, words: stt.SpeechData) -> bool:
        if (intent := self._intent(words.text)) in (None, "language"):
            return not has_words(words.text) or words.confidence < LEAST_CONFIDENCE
        return intent in BACKCHANNELS

    def _intent(self, text: str) -> str | None:
        return self.session.userdata.conversation.classify(text)

    def _resume(self, speech: SpeechHandle) -> None:
        """Resume *speech* now if it's an answer from the FAQ; livekit resumes the rest after a while."""
        if self._lookup and self._lookup.speech_handle is speech and speech.allow_interruptions:
            self._lookup.disallow_interruptions()  # the only public way; its documentation says that it resumes
            speech.allow_interruptions = True

    def _take_agreement(self, words: str, said: float, speech: SpeechHandle) -> None:
        """Reply to *words* that came just before the end of a *speech* that asks whether to go on."""
        reply = next((item.text_content for item in speech.chat_items if isinstance(item, llm.ChatMessage)), None) or ""
        soon = asyncio.get_running_loop().time() < said + AGREES_SECONDS
        if soon and not speech.interrupted and reply.endswith(replies.GO_ON) and self._intent(words) in BACKCHANNELS:
            self.session.generate_reply(user_input=words)

    async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
        """Don't look up what is probably another language: ask to say it again, and the next time say why."""
        text, confidence = new_message.text_content or "", new_message.transcript_confidence
        unsure = confidence is not None and confidence < LEAST_CONFIDENCE and has_words(text)
        self._unsure = self._unsure + 1 if unsure and not await asyncio.to_thread(self._is_reply, text) else 0
        if self._unsure:
            self.session.say(replies.ENGLISH_ONLY if self._unsure == 2 else replies.SAY_AGAIN)
            raise StopResponse

    def _is_reply(self, text: str) -> bool:
        """Whether *text* is small talk or a choice from what was offered: another language seldom looks like either."""
        conversation = self.session.userdata.conversation
        return self._intent(text) not in (None, "language") or conversation.peek(text).reason is Reason.CHOSEN

    async def on_user_turn_exceeded(self, ev: UserTurnExceededEvent) -> None:
        """Reply to speech that never pauses, such as a radio; a caller who has paused by now gets the usual reply."""
        await asyncio.sleep(BETWEEN_WORDS_SECONDS)
        if self.session.user_state == "speaking":
            self.session.clear_user_turn()
            sentence = replies.TOO_LONG if has_words(ev.transcript) else replies.SAY_AGAIN
            await speak(self.session, sentence, allow_interruptions=False)


Session = AgentSession[Lookups]


def question_in(text: str) -> str:
    """Return the last question in a long *text*, as a story of a minute needn't be alike to any entry; else *text*."""
    if len(text.split()) <= LONG:
        return text
    sentences = re.split(r"(?<=[.?!])\s+", text)
    return next((s for s in reversed(sentences) if s.endswith("?") and len(s.split()) > 3), text)


def speak(session: AgentSession[Any], sentence: str, **options: Any) -> SpeechHandle:
    """Have the agent speak *sentence*, a realtime model by instruction. Await the handle to wait until it has."""
    if isinstance(session.current_agent.llm, llm.RealtimeModel):
        return session.generate_reply(instructions=f"Say this to the caller, and nothing else: {sentence}", **options)
    return session.say(sentence, **options)
