"""Our own LiveKit server: the real program, real sockets, real participants."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from conftest import keyless
from livekit import rtc

from faqlab.errors import FaqlabError
from faqlab.settings import Settings
from faqlab.voice import livekit_server
from faqlab.voice.livekit_server import LiveKit, LocalServer, livekit_from_settings, program
from faqlab.voice.token_server import mint_token


def wait_until_gone(process: psutil.Process) -> None:
    """Return when *process* has ended; where nobody waits for orphans it stays a zombie."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.02)
    raise AssertionError(f"{process} has not ended")


def test_it_listens_on_loopback_only(livekit_program: Path) -> None:
    with LocalServer(livekit_program) as server:
        sockets = psutil.Process(server.pid).net_connections("inet")
    open_ports = [c for c in sockets if c.status == psutil.CONN_LISTEN or c.type == socket.SOCK_DGRAM]
    assert {c.laddr.ip for c in open_ports} == {"127.0.0.1"}
    assert sorted(c.type for c in open_ports) == [socket.SOCK_STREAM, socket.SOCK_DGRAM]


async def test_it_stops_while_a_participant_is_connected_who_learns_of_it(livekit_program: Path) -> None:
    server = LocalServer(livekit_program)
    livekit = (await asyncio.to_thread(server.start)).livekit
    process = psutil.Process(server.pid)
    room = rtc.Room()
    await room.connect(livekit.url, mint_token(livekit, keyless()))
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    room.on("disconnected", lambda reason: left.done() or left.set_result(reason))
    await asyncio.to_thread(server.stop)
    assert not process.is_running()
    assert await asyncio.wait_for(left, 60) == rtc.DisconnectReason.ROOM_DELETED
    await room.disconnect()


def test_each_start_has_a_new_key_and_leaves_no_thread_and_no_file_handle(livekit_program: Path) -> None:
    server, keys = LocalServer(livekit_program), set()
    counts = []
    for _ in range(3):
        with server:
            assert server.start() is server
            assert len(server.livekit.api_secret) >= 32
            keys |= {server.livekit.api_key, server.livekit.api_secret}
        server.stop()
        counts.append((threading.active_count(), psutil.Process().num_fds()))
    assert len(keys) == 6
    assert counts[1] == counts[2]


async def test_two_servers_run_side_by_side_and_accept_only_their_own_key(livekit_program: Path) -> None:
    with LocalServer(livekit_program) as first, LocalServer(livekit_program) as second:
        one, two = first.livekit, second.livekit
        assert await one.answers() and await two.answers()
        assert not await replace(one, api_key=two.api_key, api_secret=two.api_secret).answers()


def script(folder: Path, command: str) -> Path:
    """Return a program to run in place of livekit-server."""
    path = folder / "livekit-server"
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return path


def test_a_program_that_does_not_start_is_an_error_with_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(FaqlabError, match="out of luck"):
        LocalServer(script(tmp_path, "echo out of luck; exit 3")).start()


def test_an_interrupted_start_leaves_no_process(livekit_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[psutil.Process] = []
    answers = LiveKit.answers

    async def interrupted(livekit: LiveKit, *seconds: float) -> bool:
        if livekit != getattr(server, "livekit", None):  # that of another test's demo, which goes on
            return await answers(livekit, *seconds)
        if not processes:
            processes.append(psutil.Process(server.pid))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return False

    server = LocalServer(livekit_program)
    monkeypatch.setattr(LiveKit, "answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert not processes[0].is_running()


def test_one_that_does_not_answer_in_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livekit_server, "START_SECONDS", 0.5)
    with pytest.raises(FaqlabError, match="livekit-server didn't start"):
        (server := LocalServer(script(tmp_path, "exec sleep 600"))).start()
    assert not psutil.pid_exists(server.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_killed_or_frozen_it_is_started_again_with_the_same_address_and_key(
    livekit_program: Path, number: signal.Signals
) -> None:
    said: list[str] = []
    with LocalServer(livekit_program, said.append) as server:
        first, livekit = psutil.Process(server.pid), server.livekit
        first.send_signal(number)
        while len(said) < 2:
            time.sleep(0.02)
        why = {signal.SIGKILL: "signal 9", signal.SIGSTOP: "it didn't answer any more"}[number]
        assert said[0] == f"livekit-server stopped unexpectedly ({why}); it is started again."
        wait_until_gone(first)
        assert asyncio.run(livekit.answers())
        assert server.livekit is livekit and server.problem is None


OWNER = """
import signal, sys, time
from pathlib import Path
from faqlab.voice.livekit_server import LocalServer
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
server = LocalServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
while True:
    time.sleep(0.1)
"""


def test_ctrl_c_does_not_reach_it_and_it_dies_with_a_killed_owner(livekit_program: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(livekit_program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as owner:
        try:
            assert owner.stdout
            server = psutil.Process(int(owner.stdout.readline()))
            family = [server, *server.children()]
            time.sleep(0.4)  # livekit-server ignores signals in its first 0.2 s
            os.killpg(owner.pid, signal.SIGINT)
            assert owner.stdout.readline() == "interrupted\n"
            assert server.status() != psutil.STATUS_ZOMBIE
        finally:
            owner.kill()
    for process in family:
        wait_until_gone(process)


def test_an_owner_can_end_without_stopping_it(livekit_program: Path) -> None:
    command = [sys.executable, "-c", OWNER.partition("while")[0], str(livekit_program)]
    subprocess.run(command, check=True)


def test_it_inherits_no_key(livekit_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "LIVEKIT_KEYS", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "private")
    with LocalServer(livekit_program) as server:
        child = psutil.Process(server.pid)
        assert "private" not in str(child.environ())
        assert server.livekit.api_secret not in str(child.cmdline()) + repr(server.livekit)


def test_a_server_that_is_not_built_is_an_error_that_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FaqlabError, match=r"livekit-server isn't built yet; run `make build`"):
        program()


# Which server


def named(url: str | None, key: str | None = "key", secret: str | None = "hush") -> Settings:
    return Settings(google_api_key=None, livekit_url=url, livekit_api_key=key, livekit_api_secret=secret)  # type: ignore[arg-type]


def test_the_settings_name_a_server_or_we_run_our_own() -> None:
    assert livekit_from_settings(named(None)) is None
    chosen = livekit_from_settings(named("wss://faq.livekit.cloud/"))
    assert chosen == LiveKit("wss://faq.livekit.cloud", "key", "hush")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (named("wss://faq.example.com", key=None), "LIVEKIT_API_KEY isn't"),
        (named("wss://faq.example.com", secret=None), "LIVEKIT_API_SECRET isn't"),
    ],
)
def test_an_address_that_is_not_usable_is_an_error_that_names_what_is_missing(settings: Settings, message: str) -> None:
    with pytest.raises(FaqlabError, match=message) as error:
        livekit_from_settings(settings)
    assert "hush" not in str(error.value)
