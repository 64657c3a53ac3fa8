"""The whole live demo in one object: LiveKit server and agent in their own processes, and the token server."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
from pydantic import SecretStr

from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.lookup_log import LookupLog, LookupRecord, tell
from faqlab.settings import PROJECT_ROOT, Settings
from faqlab.settings import settings as read_settings
from faqlab.voice.livekit_server import LiveKit, LocalServer, livekit_from_settings, program
from faqlab.voice.services import BackgroundService, ChildProcess
from faqlab.voice.token_server import TokenServer

if TYPE_CHECKING:
    from IPython.display import IFrame

log = logging.getLogger(__name__)


class LiveDemo:
    """
    Talk to the FAQ: `with LiveDemo() as demo:`, or `start` and `stop`, as often as needed.

    LiveKit server and agent run as processes; one that ends by itself is started again, and a warning is logged. The
    token server runs on a thread. This process's signal handlers, environment and logging stay as they are. Nothing is
    left running after `stop`, or after this process has ended, for whatever reason.

    Args:
        faqs, config, port: Override the settings. If neither names a port, it's 8000 or the next free one.
        records: Folder in which look-ups are saved (default: memory only). They are personal data.
        settings: Used instead of the environment and `.env`.
        progress: Gets a line for each step of the start.

    Attributes:
        calls: The latest look-ups of all calls since the first start.
        watchers: Called after each start and stop, and when `notice` changes.
        notice: What happened last to a part that ended by itself, in a sentence, or "".
    """

    def __init__(
        self,
        faqs: Path | str | None = None,
        config: Path | str | None = None,
        port: int | None = None,
        records: Path | str | None = None,
        settings: Settings | None = None,
        progress: Callable[[str], None] = print,
    ) -> None:
        paths = {"faqs": faqs, "retrieval": config, "records": records}
        named = {name: Path(path) for name, path in paths.items() if path} | ({"port": port} if port else {})
        self.settings = (settings or read_settings()).model_copy(update=named)
        self._progress = progress
        self.calls = LookupLog(self.settings.records)
        self.watchers: list[Callable[[], None]] = []
        self.notice = ""
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
        """Which part stopped for good, and why, in a sentence; None if the demo is running or was stopped."""
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
                tell(self.watchers)
        return self

    def stop(self) -> None:
        """Stop everything that was started, and so the calls. Does nothing if it isn't running."""
        with self._lock:
            was_running, self._url, self.notice = bool(self._url), "", ""
            for part in self._parts:
                part.begin_stop()
            while self._parts:
                self._parts.pop().stop()
            atexit.unregister(self.stop)
            if was_running:
                tell(self.watchers)

    def page(self, height: int = 620) -> IFrame:
        """Return the page, with details, as a frame. It fetches its token itself, so the notebook saves none."""
        from IPython.display import IFrame

        return IFrame(f"{self.url}?details", "100%", height, extras=['allow="microphone; autoplay"'])

    def _start(self) -> None:
        # The agent comes last, because loading its models takes seconds.
        livekit, faqs = livekit_from_settings(self.settings), FaqSet.load(self.settings.faqs)
        atexit.register(self.stop)
        self._progress(f"LiveKit server: {livekit.url if livekit else 'on this machine'}.")
        # Each part is noted before it starts, so that it is stopped even if its start is interrupted.
        if livekit is None:
            server = LocalServer(program(), self._say)
            self._parts.append(server)
            livekit = server.start().livekit
        tokens, agent = TokenServer(livekit, self.settings, self.settings.port), _Agent(self, livekit)
        self._parts += (tokens, agent)
        tokens.start()
        agent.start()
        self._url = tokens.url
        self._progress(f"Ready at {self._url} with {len(faqs)} entries from {self.settings.faqs.name}.")

    def _say(self, sentence: str) -> None:
        if not self._url:
            self._progress(sentence)
            return
        log.warning("%s", sentence)
        self.notice = sentence
        tell(self.watchers)


class _Agent(ChildProcess):
    """The command `faqlab agent`; `start` sets `identity`, that of its `Worker`."""

    identity: str

    def __init__(self, demo: LiveDemo, livekit: LiveKit) -> None:
        changes = {f"livekit_{key}": value for key, value in vars(livekit).items()}
        environment = _environment(demo.settings.model_copy(update=changes | {"records": None}))  # `calls` saves them
        command = [sys.executable, "-P", "-m", "faqlab", "agent", "--json"]
        super().__init__("The agent", command, environment, demo._say)
        self._livekit, self._calls = livekit, demo.calls

    async def _watch(self) -> str:
        suspended = 0  # seconds, in which its callers hear nothing
        while suspended < 3:
            await asyncio.sleep(1)
            with suppress(psutil.Error):  # it has just ended
                suspended = suspended + 1 if psutil.Process(self.pid).status() == psutil.STATUS_STOPPED else 0
        return "it was suspended"

    def _take_line(self, line: str) -> None:
        event: dict[str, Any] = json.loads(line) if line.startswith('{"') else {}
        if not event:
            super()._take_line(line)
            if not line.startswith("faqlab: "):  # that is why it ends
                log.warning("%s", line)
        if "progress" in event and not self._ready.done():
            self._say(event["progress"])
        if "lookup" in event:
            self._calls.add(LookupRecord(**event["lookup"]))
        if "ready" in event:
            self.identity = event["ready"]
            self._is_up()

    async def _clear_up(self) -> None:
        await self._livekit.remove_participants(self.identity)


def _environment(settings: Settings) -> dict[str, str]:
    """Return our environment with *settings* in place of what it and `.env` say."""
    own = ("FAQLAB_", "LIVEKIT_", "GOOGLE_API_KEY")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    for name, value in settings:
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            variable = str(Settings.model_fields[name].validation_alias or f"FAQLAB_{name.upper()}")
            variables[variable] = " ".join(value) if isinstance(value, tuple) else str(value)
    path = os.pathsep.join([str(PROJECT_ROOT), *filter(None, [variables.get("PYTHONPATH")])])
    return variables | {"FAQLAB_ENV_FILE": os.devnull, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
