"""The whole live demo in one object: LiveKit server, token server with the page, and agent."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from livekit import rtc

from faqlab.errors import FaqlabError
from faqlab.retriever import Retriever
from faqlab.settings import Settings
from faqlab.settings import settings as read_settings
from faqlab.voice.call import Assistant
from faqlab.voice.livekit_server import LocalServer, livekit_from_settings, program
from faqlab.voice.lookup_log import LookupLog
from faqlab.voice.pipeline import choose_pipeline
from faqlab.voice.services import BackgroundService
from faqlab.voice.token_server import TokenServer, check_page, listen
from faqlab.voice.worker import Worker

if TYPE_CHECKING:
    from IPython.display import IFrame

Part = TypeVar("Part", bound=BackgroundService)


class LiveDemo:
    """
    Talk to the FAQ: `with LiveDemo() as demo:`, or `start` and `stop`, as often as needed.

    It runs on threads and doesn't change signal handlers, environment or logging, but silences most of LiveKit's log.
    Nothing is left running after `stop`, or after the process has ended, for whatever reason.

    Args:
        faqs, config, port: Override the settings. If neither names a port, it's 8000 or the next free one.
        records: Folder in which look-ups are saved (default: memory only). They are personal data.
        settings: Used instead of the environment and `.env`.
        progress: Gets a line for each step.

    Attributes:
        calls: The latest look-ups of all calls since the first start.
        watchers: Called after each start and stop.
        retriever: What the agent answers with, once `start` has returned.
    """

    retriever: Retriever

    def __init__(
        self,
        *,
        faqs: Path | str | None = None,
        config: Path | str | None = None,
        port: int | None = None,
        records: Path | str | None = None,
        settings: Settings | None = None,
        progress: Callable[[str], None] = print,
    ) -> None:
        self.settings = settings or read_settings()
        self._faqs = Path(faqs or self.settings.faqs)
        self._config = Path(config or self.settings.retrieval)
        self._port, self._progress = port or self.settings.port, progress
        records = records or self.settings.records
        self.calls = LookupLog(Path(records) if records else None)
        self.watchers: list[Callable[[], None]] = []
        self._lock = threading.RLock()
        self._parts: list[BackgroundService] = []
        self._url = ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The link by which callers join; raises FaqlabError if the demo isn't running."""
        if not self.running:
            raise FaqlabError(f"The demo isn't running; call its start(). {self.problem or ''}".rstrip())
        return self._url

    @property
    def running(self) -> bool:
        return bool(self._url) and self.problem is None

    @property
    def problem(self) -> str | None:
        """Which part stopped unexpectedly, and why, in a sentence; None if the demo is running or was stopped."""
        return next((problem for part in list(self._parts) if (problem := part.problem)), None)

    def start(self) -> Self:
        """Start, and return once the models are loaded and calls can be answered. On an error, stop everything."""
        with self._lock:
            if not self.running:
                self.stop()  # what is left, if a part stopped unexpectedly
                try:
                    self._start()
                except BaseException:
                    self.stop()
                    raise
                self._tell_watchers()
        return self

    def stop(self) -> None:
        """End the calls and everything that was started. Does nothing if it isn't running."""
        with self._lock:
            was_running, self._url = bool(self._url), ""
            with ExitStack() as stopping:  # in reverse order, and all of them even if one stop is interrupted
                while self._parts:
                    stopping.callback(self._parts.pop(0).stop)
            atexit.unregister(self.stop)
            if was_running:
                self._tell_watchers()

    def page(self, height: int = 620) -> IFrame:
        """Return the page as a frame for a notebook. It fetches its token itself, so the notebook saves none."""
        from IPython.display import IFrame

        return IFrame(self.url, "100%", height, extras=['allow="microphone; autoplay"'])

    def _start(self) -> None:
        # First whatever can fail at once, because loading the models takes seconds.
        check_page()
        listen(self._port).close()
        livekit = livekit_from_settings(self.settings)
        pipeline = choose_pipeline(self.settings)
        server = livekit.url if livekit else "on this machine"
        self._progress(f"Speech and replies: {pipeline.name}. LiveKit: {server}.")

        atexit.register(self.stop)
        _quiet_livekit()
        livekit = livekit or self._run(LocalServer(program())).livekit
        assistant = Assistant.load(pipeline, self.calls, self._faqs, self._config)
        self.retriever = assistant.retriever
        self._run(Worker(livekit, assistant, self.settings.agent_name))
        self._url = self._run(TokenServer(livekit, self.settings, self._port)).url
        self._progress(f"Ready at {self._url} with {len(self.retriever.faqs)} entries from {self._faqs.name}.")

    def _run(self, part: Part) -> Part:
        self._parts.append(part)  # before it starts, so that it is stopped even if its start is interrupted
        return part.start()

    def _tell_watchers(self) -> None:
        for tell in self.watchers:
            tell()


def _quiet_livekit() -> None:
    """Keep LiveKit's log out of the notebook's cells, except the agent's errors."""
    # livekit 1.1 logs by `logging.info` there, which would give the root logger a handler that writes to stderr.
    rtc.room.logging = logging.getLogger("livekit")  # type: ignore[assignment]
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # the SDK logs as errors what it recovers from
    logging.getLogger("livekit.agents").setLevel(logging.ERROR)
