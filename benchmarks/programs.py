"""The demo's programs, each in a separate process, with a short FAQ and the offline models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any, Self

import psutil

from benchmarks.scripted_caller import Exchange
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT, settings
from faqlab.voice.livekit_server import LiveKit

START_S = 90.0
STOP_S = 15.0

SHORT_FAQ = {
    "Where is my parcel?": "Follow the link in your shipping email.",
    "How can I pay?": "You can pay by card or by invoice.",
    "Can I return shoes?": "Yes, you can return shoes within thirty days.",
    "Where is your shop?": "Our shop is at the station.",
    "How do I cancel my order?": "Press cancel in the list of your orders.",
}
"""Questions and their answers, which are short to listen to."""


class Program:
    """
    A program in its own process, from its line that holds *ready* to the end of a `with` block.

    Args:
        command: The program and its arguments.
        ready: What it prints once it can be used.
        environment: The whole environment.

    Attributes:
        process: As psutil sees it.
    """

    process: psutil.Popen

    def __init__(self, *command: str | Path, ready: str, environment: Mapping[str, str]) -> None:
        self._command, self._ready, self._environment = list(map(str, command)), ready, dict(environment)

    def __enter__(self) -> Self:
        """Start; FaqlabError if it ends before it is ready, or isn't ready in time."""
        self._output = NamedTemporaryFile("ab", prefix="faqlab-")
        self.process = psutil.Popen(
            self._command,
            cwd=PROJECT_ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the benchmark, which then ends the program
        )
        deadline = time.monotonic() + START_S
        while self._ready not in self.output:
            if not self.running or time.monotonic() > deadline:
                end = "\n".join(self.output.splitlines()[-8:])
                self.__exit__()
                raise FaqlabError(f"{' '.join(self._command)} didn't start. The end of its output:\n{end}")
            time.sleep(0.1)
        return self

    def __exit__(self, *exception: object) -> None:
        processes = [self.process]
        with suppress(psutil.NoSuchProcess):
            processes += self.process.children(recursive=True)
            self.process.terminate()
        for process in psutil.wait_procs(processes, STOP_S)[1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._output.close()

    @property
    def output(self) -> str:
        """What it has printed so far, to stdout and stderr."""
        return Path(self._output.name).read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        return bool(self.process.poll() is None)


class Page(Program):
    """`faqlab serve` or `faqlab tokens`: a page with a `url` at which callers join."""

    def __init__(self, *command: str | Path, environment: Mapping[str, str]) -> None:
        super().__init__(*command, ready="(Ctrl-C ends it)", environment=environment)

    @property
    def url(self) -> str:
        return re.findall(r"Join at (\S+)", self.output)[-1]

    @property
    def agent(self) -> psutil.Process | None:
        """The process of serve's agent, if it is running."""
        children = self.process.children() if self.running else []
        return next((child for child in children if "agent" in child.cmdline()), None)

    @property
    def livekit(self) -> LiveKit:
        """The LiveKit server that serve has started, with its key, which callers don't get."""
        environments = (child.environ() for child in self.process.children(recursive=True))
        config = json.loads(next(of["LIVEKIT_CONFIG"] for of in environments if "LIVEKIT_CONFIG" in of))
        [(key, secret)] = config["keys"].items()
        return LiveKit(f"ws://127.0.0.1:{config['port']}", key, secret)


@contextmanager
def short_faq() -> Iterator[Path]:
    """Write `SHORT_FAQ` to a file, for a `with` block."""
    with TemporaryDirectory(prefix="faqlab-") as folder:
        path = Path(folder) / "short.json"
        entries = [{"question": question, "answer": answer} for question, answer in SHORT_FAQ.items()]
        path.write_text(json.dumps({"questions": entries}))
        yield path


@contextmanager
def serving(**variables: Any) -> Iterator[Page]:
    """Run `faqlab serve` with the short FAQ on a free port; *variables* are settings, such as `FAQLAB_CALLS`."""
    with short_faq() as faqs, Page(*faqlab("serve", "--faqs", faqs), environment=environment(**variables)) as page:
        yield page


def faqlab(*arguments: str | Path) -> list[str | Path]:
    """Return the command line of `faqlab` with *arguments*."""
    return [sys.executable, "-m", "faqlab", *arguments]


def environment(**variables: Any) -> dict[str, str]:
    """Return this process's environment with *variables* as the only settings, so with neither keys nor `.env`."""
    others = ("FAQLAB_", "GOOGLE_", "LIVEKIT_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    kept = {"FAQLAB_ENV_FILE": os.devnull, "FAQLAB_CACHE_DIR": settings().cache_dir}
    return inherited | {name: str(value) for name, value in (kept | variables).items()}


def answered_right(exchange: Exchange) -> bool:
    """Whether the agent spoke, and said the answer that `SHORT_FAQ` gives."""
    return exchange.first_audio_s is not None and SHORT_FAQ[exchange.query] in exchange.reply
