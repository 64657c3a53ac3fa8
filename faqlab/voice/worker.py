"""The agent's worker: registers with a LiveKit server and holds the conversations that it is given."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import Future
from contextlib import suppress

from livekit.agents import NOT_GIVEN, AgentServer, JobContext, JobExecutorType

from faqlab.errors import FaqlabError
from faqlab.voice.agent import Assistant
from faqlab.voice.sfu import LiveKit

REGISTER_SECONDS = 20.0
STOP_SECONDS = 10.0
RECONNECTS = 16
"""How often a lost LiveKit server is looked for before the worker gives up: over some two minutes."""
CALLS_AT_EASE = os.cpu_count() or 1
"""How many calls one worker holds without strain (twice as many, within 2 s): its load is then half of the highest."""
HIGHEST_LOAD = 0.6
"""Below the 0.7 from which LiveKit's server gives a worker no more calls: who then calls would hear nothing at all."""

_log = logging.getLogger(__name__)


class Worker:
    """
    Answers the calls of one LiveKit server from a thread of its own; each call has a thread, too.

    It may register before the assistant is loaded: who calls meanwhile waits for it. It touches no signal handler,
    leaves `os.environ` as it was, and can be started again once stopped.

    Args:
        livekit: Where to register.
        assistant: Whose result holds the conversations.
        agent_name: By which tokens call it.
    """

    def __init__(self, livekit: LiveKit, assistant: Future[Assistant], agent_name: str) -> None:
        self._livekit, self._assistant, self._agent_name = livekit, assistant, agent_name
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._registered: Future[None] = Future()
        self._error: Exception | None = None

    def start(self) -> None:
        """
        Start, and return when the server has let the worker in.

        Raises:
            FaqlabError: it did not, or was stopped meanwhile.
        """
        self._registered, self._error = Future(), None
        # Made here, so that `stop` can reach the thread from its first moment.
        self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._live, args=(self._loop,), name="faqlab-agent", daemon=True)
        self._thread.start()
        try:
            self._registered.result(REGISTER_SECONDS)
        except TimeoutError:
            self.stop()
            raise FaqlabError(
                f"The LiveKit server at {self._livekit.url} did not let the agent in: see that it runs, "
                "and that LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET belong together."
            ) from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the calls and the thread, from any thread. Does nothing if it is not running."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None or loop is None or stopping is None:
            return
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stopping.set)
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            _log.warning("The agent's thread did not end within %.0f s.", STOP_SECONDS)
        self._thread = self._loop = self._stopping = None

    @property
    def problem(self) -> str | None:
        """Why it has ended by itself, in a sentence; None if it runs, or was stopped."""
        if self._thread is None or self._thread.is_alive():
            return None
        return f"The agent has ended and answers no more calls at {self._livekit.url}: {self._error}."

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._run())
        except Exception as error:
            self._error = error
        if not self._registered.done():
            reason = self._error or "it was stopped before the LiveKit server let it in"
            self._registered.set_exception(FaqlabError(f"The agent could not start: {reason}."))

    async def _run(self) -> None:
        assert self._stopping is not None
        server = AgentServer(
            job_executor_type=JobExecutorType.THREAD,
            ws_url=self._livekit.url,
            api_key=self._livekit.api_key,
            api_secret=self._livekit.api_secret,
            host="127.0.0.1",
            port=0,
            num_idle_processes=1,
            max_retry=RECONNECTS,
            load_fnc=_load,
            http_proxy=None if self._livekit.local else NOT_GIVEN,
        )
        server.rtc_session(self._answer, agent_name=self._agent_name)
        server.on("worker_registered", self._on_registered)
        before = dict(os.environ)
        running = asyncio.create_task(server.run(devmode=True), name="agent-server")
        await asyncio.sleep(0)  # by its first wait it has written the keys there, which children would inherit
        _restore_environment(before)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        asked = stopping.done()
        stopping.cancel()
        await server.aclose()
        [ended] = await asyncio.gather(running, return_exceptions=True)
        if not asked:
            raise ended or RuntimeError("it ended by itself")

    def _on_registered(self, *_: object) -> None:
        if not self._registered.done():  # it is, when the connection was lost and is back
            self._registered.set_result(None)

    async def _answer(self, job: JobContext) -> None:
        assistant = await asyncio.shield(asyncio.wrap_future(self._assistant))
        await assistant.converse(job, self._livekit)


def _load(server: AgentServer) -> float:
    """Return by what LiveKit chooses among workers: never the CPU's load, or a busy notebook refuses its own calls."""
    calls = len(server.active_jobs)
    return HIGHEST_LOAD * calls / (calls + CALLS_AT_EASE)


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
