"""A program that is watched: how it starts, ends, and is started again. The programs are small shell scripts."""

from __future__ import annotations

import asyncio

import psutil
import pytest
from conftest import wait_until

from faqlab.errors import FaqlabError
from faqlab.voice import services
from faqlab.voice.services import ChildProcess


class Script(ChildProcess):
    """A shell script that is up once it writes "up", and has to be killed once it writes "stuck"."""

    def __init__(self, script: str) -> None:
        self.said: list[str] = []
        super().__init__("The script", ["/bin/sh", "-c", script], {"PATH": "/usr/bin:/bin"}, self.said.append)
        self._stuck = asyncio.Event()

    async def _watch(self) -> str:
        self._stuck.clear()
        await self._stuck.wait()
        return "it is stuck"

    def _take_line(self, line: str) -> None:
        super()._take_line(line)
        if line == "up":
            self._is_up()
        if line == "stuck":
            self._stuck.set()


def test_one_that_is_killed_is_started_again_and_says_so() -> None:
    with Script("echo up; sleep 600") as script:
        first = script.pid
        psutil.Process(first).kill()
        wait_until(lambda: len(script.said) == 2)
        assert script.said == [
            "The script stopped unexpectedly (signal 9); it is started again.",
            "The script is running again.",
        ]
        assert script.pid != first and script.problem is None
    assert not psutil.pid_exists(script.pid)


def test_one_that_is_stuck_is_killed_and_started_again() -> None:
    with Script("echo up; sleep 0.2; echo stuck >&2; sleep 600") as script:
        first = psutil.Process(script.pid)
        wait_until(lambda: "The script is running again." in script.said)
        assert script.said[0] == "The script stopped unexpectedly (it is stuck); it is started again."
        assert not first.is_running()


def test_one_that_ends_too_often_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "RESTARTS", 1)
    script = Script("echo up >&2; echo no disk >&2; exit 3").start()
    wait_until(lambda: script.problem)
    assert script.problem == "The script stopped unexpectedly (status 3: no disk)."
    script.stop()
    assert script.problem is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'faqlab: no such FAQ.' >&2; exit 2", "no such FAQ."),
        (
            "echo out of luck; exit 3",
            "The script didn't start (status 3: out of luck). The end of its output: out of luck",
        ),
        ("echo stuck; sleep 600", "The script didn't start (it is stuck). The end of its output: stuck"),
    ],
)
def test_one_that_does_not_start_is_an_error_that_says_why(script: str, message: str) -> None:
    with pytest.raises(FaqlabError) as error:
        Script(script).start()
    assert str(error.value) == message


def test_one_that_does_not_end_when_asked_to_is_killed_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "STOP_SECONDS", 0.1)
    with Script("trap '' TERM; sleep 600 & echo up; while true; do sleep 0.1; done") as script:
        family = [psutil.Process(script.pid), *psutil.Process(script.pid).children(recursive=True)]
        assert len(family) > 2
    assert not psutil.wait_procs(family, timeout=60)[1]
