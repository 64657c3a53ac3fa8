"""All of the live demo in one object: a LiveKit server, the page and its tokens, and the agent that answers."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
import pandas as pd
from livekit import rtc

from faqlab.errors import FaqlabError
from faqlab.retriever import Retriever
from faqlab.settings import Settings
from faqlab.settings import settings as read_settings
from faqlab.voice.agent import Assistant
from faqlab.voice.caller import Caller, Heard
from faqlab.voice.calls import CallLog, call_table
from faqlab.voice.page import build_page
from faqlab.voice.sfu import LiveKit, LocalServer, build_server, livekit_from_settings
from faqlab.voice.stack import Stack, choose_stack
from faqlab.voice.tokens import TokenOptions, TokenServer, listen
from faqlab.voice.worker import Worker

if TYPE_CHECKING:
    from IPython.display import IFrame
    from ipywidgets import Widget

LIVEKIT_LEVELS = {"livekit": logging.CRITICAL, "livekit.agents": logging.ERROR}
"""What is let through. The SDK calls an error what it mends itself."""

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def say_line(line: str) -> None:
    """Print *line*."""
    print(line, flush=True)  # noqa: T201


class LiveDemo:
    """
    Talk to the FAQ: `with LiveDemo() as demo:`, or `start` and `stop`, again and again.

    It runs on threads of its own beside a notebook or a program, whose signal handlers, environment and logging stay
    as they are. Nothing of it is left after `stop`, nor after the end of the process, however that comes.

    Attributes:
        calls: The last 10,000 look-ups of all calls since the first start.

    Args:
        faqs: The FAQ, a JSON file; that of the settings if None.
        config: How to retrieve, a JSON file; that of the settings if None.
        port: Of the page; 8000 or the next that is free if None.
        records: A folder for the records of the calls; they are only kept in memory if None. Callers' words are
            personal: name a folder only if your callers know.
        settings: Other settings than those of the environment and `.env`.
        progress: Told in lines what happens.
    """

    def __init__(
        self,
        *,
        faqs: Path | str | None = None,
        config: Path | str | None = None,
        port: int | None = None,
        records: Path | str | None = None,
        settings: Settings | None = None,
        progress: Callable[[str], None] = say_line,
    ) -> None:
        self._settings = settings or read_settings()
        self._faqs = Path(faqs or self._settings.faqs)
        self._config = Path(config or self._settings.retrieval)
        self._port, self._progress = port or self._settings.port, progress
        records = records or self._settings.records
        self.calls = CallLog(Path(records) if records else None)
        self._parts: ExitStack | None = None
        self._servers: list[LocalServer | Worker | TokenServer] = []
        self._assistant: Future[Assistant] = Future()
        self._tokens: TokenServer | None = None
        self._lock = threading.RLock()
        self._watchers: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """
        The link by which callers join.

        Raises:
            FaqlabError: the demo does not run.
        """
        tokens = self._tokens
        if problem := self.problem:
            raise FaqlabError(f"The demo does not run any more; start() it again. {problem}")
        if tokens is None:
            raise FaqlabError("The demo is not running: start() it.")
        return tokens.url

    @property
    def running(self) -> bool:
        """Whether it answers calls."""
        return self._parts is not None and self.problem is None

    @property
    def problem(self) -> str | None:
        """What of it has ended by itself, in a sentence; None if it runs, or was stopped."""
        return next((problem for server in list(self._servers) if (problem := server.problem)), None)

    @property
    def retriever(self) -> Retriever:
        """What the agent answers with."""
        return self._assistant.result().retriever

    def start(self) -> Self:
        """
        Start, and return when the first caller would be answered at full speed. Does nothing if it runs; what has
        ended by itself starts again.

        Raises:
            FaqlabError: it could not; the message says why, and nothing is left running.
        """
        with self._lock:
            self.listen()
            self.wait_until_warm()
        return self

    def listen(self) -> str:
        """
        Start, and return the link as soon as callers can join; who does waits for the models.

        Raises:
            FaqlabError: as for `start`.
        """
        with self._lock:
            if self.running:
                return self.url
            self.stop()
            try:
                self._begin()
                return self.url
            except BaseException:  # an interrupt, at any moment
                self.stop()
                raise

    def _begin(self) -> None:
        begun = time.monotonic()
        with ExitStack() as parts:
            parts.enter_context(_quiet_livekit())
            if self._port is not None:
                listen(self._port).close()  # that it is taken is told now, and not after minutes of building
            stack = choose_stack(self._settings)
            self._progress(f"Voice: {stack.name}. LiveKit: {self._settings.livekit_url or 'on this machine'}.")
            build_page(self._progress)
            livekit = self._livekit(parts)
            self._assistant = Future()
            loading = threading.Thread(target=self._load, args=(stack, begun), name="faqlab-load", daemon=True)
            loading.start()
            parts.callback(loading.join)
            worker = Worker(livekit, self._assistant, self._settings.agent_name)
            parts.callback(worker.stop)
            worker.start()
            tokens = TokenServer(livekit, token_options(self._settings), self._port)
            parts.callback(tokens.stop)  # first: an interrupt may come as soon as it has begun
            tokens.start()
            self._tokens = tokens
            self._servers += [worker, tokens]
            self._parts = parts.pop_all()
        atexit.register(self.stop)
        self._tell_watchers()

    def wait_until_warm(self) -> None:
        """
        Return when the models are loaded and have each run once.

        Raises:
            FaqlabError: they could not be loaded.
        """
        try:
            self._assistant.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the calls and everything that was started. Does nothing if it is not running."""
        with self._lock:
            parts, self._parts, self._tokens = self._parts, None, None
            self._servers.clear()
            if parts is None:
                return
            atexit.unregister(self.stop)
            try:
                parts.close()
            finally:
                self._tell_watchers()

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call *tell* whenever the demo has started or stopped; return what ends that."""
        self._watchers.append(tell)

        def unwatch() -> None:
            with suppress(ValueError):  # a second time does nothing
                self._watchers.remove(tell)

        return unwatch

    def call(self, queries: Sequence[str], at_once: int = 2) -> pd.DataFrame:
        """
        Have a scripted caller ask each of *queries* aloud in a call of its own, and return what came of it.

        An interrupt (Ctrl-C, the kernel's stop button) hangs up and leaves nothing running.

        Args:
            queries: What to ask.
            at_once: How many calls go on at the same time.

        Returns:
            One row a query, in their order: `asked`, `heard` by the agent, `outcome` (None where nothing was looked
            up), `retrieved` ids, those `offered` by asking back, `said` by the agent, whether it `cut_in` before the
            end, `first_sound_ms` from the end of the question to the first sound of the answer at the caller, and of
            that the agent's `STAGES`, as `…_ms`. A call that failed, where others did not, is told to `progress`; its
            row says that nothing was heard.

        Raises:
            FaqlabError: the demo does not run, or has one room for all callers, so that one call would meet another.
        """
        if self._settings.room:
            raise FaqlabError(
                f"All callers share the room {self._settings.room!r}, and each of these calls needs its own: "
                "leave FAQLAB_ROOM out."
            )
        lines = asyncio.Semaphore(at_once)

        async def one_call(query: str) -> Heard:
            async with lines:
                return await self.ask(query)

        async def all_calls() -> list[Heard | BaseException]:
            return await asyncio.gather(*map(one_call, queries), return_exceptions=True)  # or it leaves some behind

        ended = beside(all_calls())
        failed = [error for error in ended if isinstance(error, BaseException)]
        if failed and (len(failed) == len(ended) or not all(isinstance(error, Exception) for error in failed)):
            raise failed[0]
        heard: list[Heard] = []
        for query, outcome in zip(queries, ended, strict=True):
            if isinstance(outcome, BaseException):
                self._progress(f"The call to ask {query!r} failed: {outcome or type(outcome).__name__}")
                outcome = Heard.nothing(query)
            heard.append(outcome)
        return call_table(heard, {record.id: record for record in self.calls.records})

    async def ask(self, query: str, **options: Any) -> Heard:
        """Have a scripted caller ask *query* in a call of its own, with the *options* of `Caller.ask`."""
        async with aiohttp.ClientSession() as http, http.get(self.url + "getToken") as response:
            token = await response.json()
        caller = Caller(token["url"], token["token"])
        joining = asyncio.create_task(caller.__aenter__())
        try:
            await asyncio.shield(joining)  # given up halfway, LiveKit's SDK ends the whole process some seconds later
            await caller.wait_for_greeting()
            return await caller.ask(query, **options)
        finally:
            await asyncio.gather(joining, return_exceptions=True)
            await caller.leave()

    def page(self, height: int = 620) -> IFrame:
        """Return the page as a frame for the notebook. It fetches its token itself, so that none is saved."""
        from IPython.display import IFrame

        return IFrame(self.url, "100%", height, extras=['allow="microphone; autoplay"'])

    def panel(self) -> Widget:
        """Return a widget that follows the calls, with a button that stops the demo."""
        from faqlab.voice.panel import call_panel

        return call_panel(self)

    def _tell_watchers(self) -> None:
        for tell in list(self._watchers):
            try:
                tell()
            except Exception:  # who looks on must not keep the others from it, nor the demo from its start or stop
                _log.exception("A watcher of the demo failed.")

    def _livekit(self, parts: ExitStack) -> LiveKit:
        if named := livekit_from_settings(self._settings):
            return named
        server = LocalServer(build_server(self._progress))
        self._servers.append(server)
        return parts.enter_context(server)

    def _load(self, stack: Stack, begun: float) -> None:
        try:
            assistant = Assistant.load(stack, self.calls, self._faqs, self._config)
        except BaseException as error:
            self._assistant.set_exception(error)
            return
        answers = len(assistant.retriever.faqs)
        self._progress(f"Ready after {time.monotonic() - begun:.1f} s: {answers} answers from {self._faqs.name}.")
        self._assistant.set_result(assistant)


def token_options(settings: Settings) -> TokenOptions:
    """Return what the *settings* say about tokens."""
    return TokenOptions(
        ttl=timedelta(minutes=settings.token_minutes),
        agent_name=settings.agent_name,
        fixed_room=settings.room,
        allow_choice=settings.allow_choice,
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=settings.allowed_origins,
    )


def beside(work: Coroutine[Any, Any, Result]) -> Result:
    """
    Run *work* in a loop on a thread of its own, since a notebook's loop runs on this one; return its result.

    An interrupt cancels it, and comes out when it has ended.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    async def result() -> Result:
        return await task

    def run() -> Result:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(result())

    with ThreadPoolExecutor(1, "faqlab-caller") as thread:
        running = thread.submit(run)
        try:
            return running.result()
        except BaseException:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(task.cancel)
            raise


_quieting = threading.Lock()
_quieted = ExitStack()
_in_quiet: list[object] = []


@contextmanager
def _quiet_livekit() -> Iterator[None]:
    """
    Keep LiveKit's log out of the notebook's cells, but for the agent's errors; the user's own stays as it is.

    Of several demos at once the first makes it quiet, and the last sets it back.
    """
    this = object()
    with _quieting:
        if not _in_quiet:
            _quieted.enter_context(_quieter())
        _in_quiet.append(this)
    try:
        yield
    finally:
        with _quieting:
            _in_quiet.remove(this)
            if not _in_quiet:
                _quieted.close()


@contextmanager
def _quieter() -> Iterator[None]:
    logger, module = logging.getLogger("livekit"), rtc.room.logging
    before = {name: logging.getLogger(name).level for name in LIVEKIT_LEVELS}
    for name, level in LIVEKIT_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    # Its `logging.info` would give the root logger a handler that writes to stderr.
    rtc.room.logging = logger  # type: ignore[assignment]
    try:
        yield
    finally:
        rtc.room.logging = module
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
