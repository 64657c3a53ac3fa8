"""
Gemini Live as the agent's ears, mind and voice; and how the call goes on when Gemini fails for good.

What stack.py and agent.py do with it::

    import_on_main_thread()                                     # once, before any worker thread
    session = AgentSession(stt=…, llm=…, tts=…, vad=…)          # the offline stack: what the call falls back on
    Failover(session, notify, lambda chat_ctx: FaqAgent(…, chat_ctx=chat_ctx))
    await session.start(FaqAgent(…, **agent_options(settings)), room=room)

Both agents live in the one session, so that the room, the caller's audio and our track stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from livekit.agents import (
    Agent,
    AgentSession,
    AgentStateChangedEvent,
    APIConnectOptions,
    ErrorEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
    utils,
)
from livekit.agents.voice.events import EventTypes

from faqlab.errors import FaqlabError
from faqlab.settings import Settings

if TYPE_CHECKING:
    from google.genai.types import HttpOptions
    from livekit.plugins.google.realtime import RealtimeModel

    from faqlab.voice.stack import Notify

APOLOGY = "I am having trouble reaching my usual service; I go on with a simpler voice."
INVITATION = "How can I help?"
PROD = "The caller is waiting for you. Answer what they said; if you could not hear it, ask them to say it again."

PATIENCE = 4.0
"""Seconds of silence until Gemini is prodded, and again as many until the call goes on without it."""

CONNECT_SECONDS = 10.0
# Three connects within a second: what lasts longer is an outage, and the caller is waiting.
_CONNECT = APIConnectOptions(max_retry=2, retry_interval=0.5, timeout=CONNECT_SECONDS)

_log = logging.getLogger(__name__)


def import_on_main_thread() -> None:
    """Import livekit's Google plugin, which registers itself and may do so on the main thread only; some 5 s."""
    import livekit.plugins.google  # noqa: F401


def gemini_model(settings: Settings, *, http_options: HttpOptions | None = None) -> RealtimeModel:
    """
    Return Gemini Live with the settings' key, model and voice.

    Args:
        settings: Where the key, the model and the voice come from.
        http_options: Another address or certificate than Google's.

    Raises:
        FaqlabError: there is no key.
    """
    if settings.google_api_key is None:
        raise FaqlabError("GOOGLE_API_KEY is not set: set it in .env, or use the offline voice.")
    from google.genai import types
    from livekit.plugins.google.realtime import RealtimeModel

    # At DEBUG this one writes the headers of each connect, the key among them.
    logging.getLogger("websockets.client").setLevel(logging.INFO)
    return RealtimeModel(
        model=settings.gemini_model,
        voice=settings.gemini_voice,
        api_key=settings.google_api_key.get_secret_value(),
        vertexai=False,  # or GOOGLE_GENAI_USE_VERTEXAI decides
        # Gemini 3.8 speaks on during a call unless told to wait: it would answer without the FAQ.
        tool_behavior=types.Behavior.BLOCKING,
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        conn_options=_CONNECT,
        http_options=http_options or types.HttpOptions(timeout=int(CONNECT_SECONDS * 1000)),
    )


def agent_options(settings: Settings, *, http_options: HttpOptions | None = None) -> dict[str, Any]:
    """
    Return what makes an Agent of an offline session speak by Gemini: `FaqAgent(…, **agent_options(settings))`.

    The session's VAD stays on: it tells `Failover` when the caller has finished. Turns are Gemini's to take.

    Raises:
        FaqlabError: there is no key.
    """
    return {
        "llm": gemini_model(settings, http_options=http_options),
        "stt": None,
        "turn_handling": {"turn_detection": "realtime_llm"},
    }


class Failover:
    """
    Keeps a call alive when Gemini fails for good: an apology, and then the session's own, offline models.

    It fails for good when livekit's plugin gives up (a wrong key, a refused connect, 1007, 1011 at every connect),
    and when it stays silent: neither a word nor a tool call in `patience` seconds, nor after a prod in as many.

    Construct it before the session starts; it needs no closing.
    """

    def __init__(
        self,
        session: AgentSession[Any],
        notify: Notify,
        simpler: Callable[[llm.ChatContext], Agent],
        *,
        patience: float = PATIENCE,
    ) -> None:
        """
        Watch over *session*.

        Args:
            session: Not started yet; with stt, llm, tts and vad of its own.
            notify: Shows the apology on the caller's page.
            simpler: Makes the agent that goes on, without models of its own, with what was said so far.
                Its `on_enter` is replaced: it opens with the apology and, if a question was left open, the answer.
            patience: Seconds.
        """
        self._session, self._notify, self._simpler, self._patience = session, notify, simpler, patience
        self._timer: asyncio.TimerHandle | None = None
        self._prodded = False
        self._unanswered = ""
        self._latest_item: str | None = None
        self._answered_item: str | None = None
        self._handover: asyncio.Task[None] | None = None
        self._handlers: dict[EventTypes, Callable[[Any], None]] = {
            "error": self._on_error,
            "agent_state_changed": self._on_agent_state,
            "user_state_changed": self._on_user_state,
            "user_input_transcribed": self._on_transcript,
            "function_tools_executed": lambda _: self._restart_timer(),
            "close": lambda _: self._stop_timer(),
        }
        for name, handler in self._handlers.items():
            session.on(name, handler)

    @property
    def failed_over(self) -> bool:
        """Whether the call goes on, or is about to go on, without Gemini."""
        return self._handover is not None

    def fail_over(self, reason: str) -> None:
        """Go on without Gemini; does nothing the second time. *reason* is logged."""
        self._stop_timer()
        if self._handover is None:
            _log.warning("Gemini is given up, the call goes on offline: %s", reason)
            self._handover = asyncio.create_task(self._hand_over(), name="gemini-failover")

    @utils.log_exceptions(logger=_log)
    async def _hand_over(self) -> None:
        session = self._session
        while not session._started:  # until then update_agent enters nobody, and no event tells when
            await asyncio.sleep(0.02)
        notice = asyncio.create_task(self._notify("warning", APOLOGY))
        if session.agent_state == "speaking" and session.current_speech:
            await session.current_speech  # what Gemini has said already may be heard to its end
        else:
            with suppress(RuntimeError):
                await session.interrupt(force=True)
        chat_ctx = session.current_agent.chat_ctx.copy(
            exclude_instructions=True, exclude_handoff=True, exclude_config_update=True
        )
        self._take_back(chat_ctx)
        agent = self._simpler(chat_ctx)
        agent.on_enter = self._open  # type: ignore[method-assign]  # the first moment at which the new agent can speak
        session.update_agent(agent)
        await notice

    def _take_back(self, chat_ctx: llm.ChatContext) -> None:
        """Remove the turn that was not answered, look-ups and all: it is asked anew."""
        while chat_ctx.items and getattr(last := chat_ctx.items[-1], "role", None) != "assistant":
            chat_ctx.items.pop()
            if isinstance(last, llm.ChatMessage):
                self._unanswered = self._unanswered or last.text_content or ""

    async def _open(self) -> None:
        for name, handler in self._handlers.items():
            self._session.off(name, handler)
        question, self._unanswered = self._unanswered, ""
        self._session.say(APOLOGY if question else f"{APOLOGY} {INVITATION}")
        if question:
            self._session.generate_reply(user_input=question)

    def _on_error(self, event: ErrorEvent) -> None:
        if isinstance(event.error, llm.RealtimeModelError) and not event.error.recoverable:
            event.error.recoverable = True  # or the session closes: livekit's way to say "we deal with it"
            self.fail_over(f"{type(event.error.error).__name__}: {event.error.error}")

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        if event.old_state == "initializing":
            self._start_timer()
        elif "speaking" in (event.old_state, event.new_state):
            self._stop_timer()
            self._prodded, self._unanswered, self._answered_item = False, "", self._latest_item

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._stop_timer()
            if self._handover:  # the rest of Gemini's last answer: it cannot hear the caller any more
                with suppress(RuntimeError):
                    self._session.interrupt()
        elif event.old_state == "speaking":
            self._start_timer()

    def _on_transcript(self, event: UserInputTranscribedEvent) -> None:
        self._latest_item = event.item_id
        if self._session.agent_state == "speaking":
            self._answered_item = event.item_id
        elif event.item_id != self._answered_item:  # Gemini sends it once more when its answer has been played
            self._unanswered = event.transcript

    def _start_timer(self) -> None:
        self._stop_timer()
        if self._handover is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._on_silence)

    def _restart_timer(self) -> None:
        if self._timer:
            self._start_timer()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _on_silence(self) -> None:
        if self._session.agent_state == "speaking":
            self._start_timer()
        elif self._prodded:
            self.fail_over(f"silent for {2 * self._patience:.0f} s")
        else:
            self._prodded = True  # it may have taken a cough for what it was
            self._session.generate_reply(instructions=PROD)
            self._start_timer()
