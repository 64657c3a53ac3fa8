"""
Gemini Live, which transcribes, answers and speaks, and how a call continues on the offline models when it fails.

Both agents live in one session, so the room, the caller's audio and the agent's track stay as they are. Import this on
the main thread: livekit's plugin registers itself, and takes seconds to load.
"""

import asyncio
import logging
import wave
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from google.genai import types
from livekit import rtc
from livekit.agents import APIConnectOptions, llm
from livekit.agents.voice import events
from livekit.plugins.google.realtime import RealtimeModel

from faqlab import replies
from faqlab.settings import Settings
from faqlab.voice.agent import FaqAgent, Notify, Session
from faqlab.voice.offline import load_speech, offline_agent

REMINDER = "The caller is waiting for you. Answer what they said; if you couldn't hear it, ask them to say it again."
PATIENCE_SECONDS = 2.2  # of silence, which HOLD ends
CONNECT_SECONDS = 10.0
CONNECTION = {"ping_interval": 1.5, "ping_timeout": 1.5, "close_timeout": 1.0}  # with a Gemini that is out of reach

# `replies.HOLD`, from `python -m training.hold`, because no speech model is loaded when it's needed.
with wave.open(str(Path(__file__).with_name("hold.wav"))) as file:
    HOLD = rtc.AudioFrame(file.readframes(file.getnframes()), file.getframerate(), 1, file.getnframes())

log = logging.getLogger(__name__)


def gemini_agent(settings: Settings, http_options: types.HttpOptions | None = None) -> FaqAgent:
    """
    Return an agent on Gemini Live, with the settings' key, model and voice; *http_options* can name another server.

    Gemini decides when a turn ends. The session's VAD only tells `Failover` when the caller has finished.
    """
    assert settings.google_api_key
    options = http_options or types.HttpOptions(timeout=int(CONNECT_SECONDS * 1000))
    options.async_client_args = {**(options.async_client_args or {}), **CONNECTION}
    logging.getLogger("websockets.client").setLevel(logging.INFO)  # at DEBUG it logs the key
    model = RealtimeModel(
        model=settings.gemini_model,
        voice=settings.gemini_voice,
        api_key=settings.google_api_key.get_secret_value(),
        vertexai=False,  # otherwise GOOGLE_GENAI_USE_VERTEXAI decides
        tool_behavior=types.Behavior.BLOCKING,  # otherwise Gemini answers before the tool has
        conn_options=APIConnectOptions(max_retry=2, retry_interval=0.5, timeout=CONNECT_SECONDS),  # the caller waits
        http_options=options,
    )
    return FaqAgent(llm=model, turn_handling={"turn_detection": "realtime_llm"})


class Failover:
    """
    Ends the silence when Gemini doesn't answer, and keeps the call alive when it fails: an apology, and offline models.

    It has failed when livekit's plugin gives up (wrong key, connection refused, WebSocket close code 1007, or another
    one at every connect), or when it stays silent: the caller is asked to hold, then again, while Gemini is reminded.
    """

    def __init__(self, session: Session, notify: Notify, wait: Callable[..., Awaitable[Any]] = asyncio.sleep) -> None:
        self._session, self._notify, self._wait = session, notify, wait
        self._started = asyncio.Event()
        self._handover: asyncio.Task[None] | None = None
        self._silence: asyncio.Task[None] | None = None
        self._holds, self._spoken_over = 0, False  # since Gemini's last words
        self._room: rtc.Room | None = None
        self._source: rtc.AudioSource | None = None

    async def start(self, agent: FaqAgent, **options: Any) -> None:
        """Start the session with *agent*; *options* are those of `AgentSession.start`."""
        self._session.on("error", self._on_error)
        self._session.on("agent_state_changed", self._on_agent_state)
        self._session.on("user_state_changed", self._on_user_state)
        self._session.on("close", lambda _: self._stop_waiting())
        self._room = options.get("room")
        await self._session.start(agent, **options)
        self._started.set()

    def fail_over(self, reason: str) -> None:
        """Continue without Gemini, and log *reason*. Later calls do nothing."""
        self._stop_waiting()
        if self._handover is None:
            log.warning("The call continues without Gemini: %s", reason)
            self._handover = asyncio.create_task(self._hand_over(), name="gemini-failover")

    async def _hand_over(self) -> None:
        try:
            while not self._loading.done():
                if "speaking" not in (self._session.agent_state, self._session.user_state):
                    await self._hold()
                await asyncio.wait([self._loading], timeout=PATIENCE_SECONDS)
            await asyncio.gather(self._started.wait(), self._loading)
            await self._continue_offline(self._session)
        except Exception:
            log.exception("The call can't continue offline, so it ends.")
            await self._notify("warning", replies.GIVE_UP)
            self._session.shutdown(drain=False)

    async def _continue_offline(self, session: Session) -> None:
        if session.agent_state == "speaking" and session.current_speech:
            await session.current_speech  # Gemini has said it already
        with suppress(RuntimeError):  # the session has ended
            interrupted = session.interrupt(force=True)
            # Ends a reply that Gemini left half-finished, and puts the question to it into the history.
            await session.current_agent.realtime_llm_session.aclose()
            await interrupted
        history = session.current_agent.chat_ctx.copy(exclude_instructions=True)
        unanswered = [message.role for message in history.messages()][-1:] == ["user"]
        session.userdata.greeting = replies.APOLOGY if unanswered else f"{replies.APOLOGY} {replies.INVITATION}"
        session.update_agent(offline_agent(session.userdata.conversation, unanswered, chat_ctx=history))
        await self._notify("warning", replies.APOLOGY)

    @cached_property
    def _loading(self) -> asyncio.Task[None]:
        """The task that loads the offline models, begun when this is first read."""
        return asyncio.create_task(asyncio.to_thread(load_speech, (replies.APOLOGY, replies.INVITATION, replies.SORRY)))

    def _on_error(self, event: events.ErrorEvent) -> None:
        if isinstance(event.error, llm.RealtimeModelError) and not event.error.recoverable:
            event.error.recoverable = True  # otherwise livekit closes the session
            self.fail_over(f"{type(event.error.error).__name__}: {event.error.error}")
        elif speech := self._session.current_speech:  # the connection broke off, and with it what Gemini was saying
            speech.add_done_callback(lambda _: self._expect_words(0, holds=1))

    def _on_agent_state(self, event: events.AgentStateChangedEvent) -> None:
        if event.old_state == "initializing":
            self._expect_words()
        elif "speaking" in (event.old_state, event.new_state):
            self._stop_waiting()
            self._holds = 0
            if self._spoken_over:  # what the caller said over it wants an answer too
                self._expect_words()
            self._spoken_over = False

    def _on_user_state(self, event: events.UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._stop_waiting()
            if self._handover and not self._handover.done():  # only this can interrupt Gemini's last answer
                with suppress(RuntimeError):
                    self._session.interrupt()
        elif event.old_state == "speaking":
            self._spoken_over = self._session.agent_state == "speaking"
            if not self._spoken_over:
                self._expect_words()

    def _expect_words(self, seconds: float = PATIENCE_SECONDS, holds: int | None = None) -> None:
        self._stop_waiting()
        if self._handover is None:
            self._holds = self._holds if holds is None else holds
            self._silence = asyncio.create_task(self._wait_for_words(seconds))

    async def _wait_for_words(self, seconds: float) -> None:
        await self._wait(seconds)
        while self._holds < 2:
            self._holds += 1
            _ = self._loading  # begun now, in case that Gemini stays silent
            if self._holds == 2:  # Gemini may rightly have ignored a cough; sooner, it would interrupt a slow answer
                with suppress(RuntimeError):  # the session is closing
                    self._session.generate_reply(instructions=REMINDER)
            await self._hold()
            await self._wait(PATIENCE_SECONDS)
        self.fail_over("it stayed silent")

    async def _hold(self) -> None:
        """Ask the caller to hold, on a separate track: the session says nothing else while it waits for Gemini."""
        with suppress(TimeoutError):  # a caller who is reconnecting doesn't subscribe
            async with asyncio.timeout(2 * PATIENCE_SECONDS):
                await self._notify("info", replies.HOLD)
                if self._room and not self._source:
                    self._source = rtc.AudioSource(HOLD.sample_rate, 1)
                    track = rtc.LocalAudioTrack.create_audio_track("hold", self._source)
                    await (await self._room.local_participant.publish_track(track)).wait_for_subscription()
                if source := self._source:
                    try:
                        await source.capture_frame(HOLD)
                        await source.wait_for_playout()
                    finally:  # Gemini or the caller began to speak
                        source.clear_queue()

    def _stop_waiting(self) -> None:
        if self._silence:
            self._silence.cancel()  # without effect if it's this task, which has no step left
