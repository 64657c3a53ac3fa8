"""The LiveKit server of our own: the real program, real sockets, real participants."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from livekit import rtc

from faqlab.errors import FaqlabError
from faqlab.settings import Settings
from faqlab.voice import page, sfu
from faqlab.voice.page import build_page
from faqlab.voice.sfu import LiveKit, LocalServer, build_server, livekit_from_settings
from faqlab.voice.tokens import TokenOptions, TokenRequest, mint_token

OWNER = """
import signal, sys, time
from pathlib import Path
from faqlab.voice import sfu
sfu.PARENT_DEATH = sys.argv[2]
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
server = sfu.LocalServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.fixture(params=["signal", "pipe"])
def owner(
    request: pytest.FixtureRequest, livekit_program: Path
) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process that owns a server, by each way in which the server may learn of its death."""
    if request.param == "signal" and sys.platform != "linux":
        pytest.skip("only Linux has a parent-death signal")
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, livekit_program, request.param],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    try:
        yield process, psutil.Process(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def gone_within(seconds: float, process: psutil.Process) -> bool:
    """An orphan may stay a zombie where nobody reaps: it has ended all the same."""

    def ended() -> bool:
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    deadline = time.monotonic() + seconds
    while not ended() and time.monotonic() < deadline:
        time.sleep(0.02)
    return ended()


async def join(livekit: LiveKit) -> rtc.Room:
    room = rtc.Room()
    await room.connect(livekit.url, mint_token(livekit, TokenOptions(), TokenRequest()))
    return room


def test_it_listens_on_loopback_alone(livekit_program: Path) -> None:
    server = LocalServer(livekit_program)
    server.start()
    try:
        sockets = psutil.Process(server.pid).net_connections("inet")
        open_ports = [c for c in sockets if c.status == psutil.CONN_LISTEN or c.type == socket.SOCK_DGRAM]
        assert {c.laddr.ip for c in open_ports} == {"127.0.0.1"}
        assert sorted(c.type for c in open_ports) == [socket.SOCK_STREAM, socket.SOCK_DGRAM]
    finally:
        server.stop()


async def test_it_stops_in_time_with_a_participant_still_in(livekit_program: Path) -> None:
    server = LocalServer(livekit_program)
    livekit = await asyncio.to_thread(server.start)
    process = psutil.Process(server.pid)
    room = await join(livekit)
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    room.on("disconnected", lambda reason: left.done() or left.set_result(reason))

    begun = time.monotonic()
    await asyncio.to_thread(server.stop)

    assert time.monotonic() - begun < 2
    assert not process.is_running()
    assert server.pid is None
    assert await asyncio.wait_for(left, 5) == rtc.DisconnectReason.ROOM_DELETED  # told, not cut off


def test_it_can_be_started_again_and_has_a_new_key_each_time(livekit_program: Path) -> None:
    server = LocalServer(livekit_program)
    with server as first:
        assert server.start() is first
    with server as second:
        assert {first.api_key, first.api_secret}.isdisjoint({second.api_key, second.api_secret})
        assert len(second.api_secret) >= 32
    server.stop()
    assert server.pid is None


def test_starting_and_stopping_leaves_no_thread_and_no_file_handle(livekit_program: Path) -> None:
    with LocalServer(livekit_program):
        pass
    threads, handles = threading.active_count(), psutil.Process().num_fds()
    for _ in range(3):
        with LocalServer(livekit_program):
            pass
    assert (threading.active_count(), psutil.Process().num_fds()) == (threads, handles)


def test_two_servers_run_side_by_side_and_know_only_their_own_key(livekit_program: Path) -> None:
    with LocalServer(livekit_program) as one, LocalServer(livekit_program) as two:
        assert one.url != two.url
        stranger = LiveKit(one.url, two.api_key, two.api_secret, local=True)
        with pytest.raises(ConnectionError, match="401"):
            sfu._call(stranger, "ListRooms", {})


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_taken_in_the_last_moment_is_exchanged(
    livekit_program: Path, monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        offered = [taken.getsockname()[1]]
        free_port = sfu._free_port
        monkeypatch.setattr(sfu, "_free_port", lambda k: offered.pop() if k == kind and offered else free_port(k))
        with LocalServer(livekit_program) as livekit:
            assert not offered
            assert not livekit.url.endswith(f":{taken.getsockname()[1]}")


def test_a_program_that_does_not_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "livekit-server"
    program.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(FaqlabError, match="out of luck"):
        LocalServer(program).start()


def test_it_outlives_the_thread_that_started_it(livekit_program: Path) -> None:
    server = LocalServer(livekit_program)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        time.sleep(0.3)
        assert server.pid
    finally:
        server.stop()


def test_it_dies_with_a_killed_owner(owner: tuple[subprocess.Popen[str], psutil.Process]) -> None:
    process, server = owner
    process.kill()
    process.wait()
    assert gone_within(2, server)


def test_the_children_of_a_build_die_with_its_owner() -> None:
    code = (
        "import os, sys; from faqlab.voice.sfu import spawn;"
        "spawn(['/bin/sh', '-c', 'sleep 60 & echo $!; wait'], dict(os.environ), None, parent_death='pipe').wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        grandchild = psutil.Process(int(process.stdout.readline()))
        child = grandchild.parent()
        assert child
        process.kill()
    assert gone_within(2, grandchild)
    assert gone_within(2, child)


def test_an_interrupt_from_the_keyboard_is_for_the_owner_alone(
    owner: tuple[subprocess.Popen[str], psutil.Process],
) -> None:
    process, server = owner
    time.sleep(0.4)  # livekit-server is deaf to signals in its first 0.2 s
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout and process.stdout.readline() == "interrupted\n"
    assert not gone_within(0.5, server)


def test_a_child_whose_owner_died_before_it_was_guarded_does_not_start() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has a parent-death signal")
    told = subprocess.run(
        [sys.executable, "-c", sfu.GUARD, "1", "signal", "/bin/echo", "started"], capture_output=True, text=True
    )
    assert (told.returncode, told.stdout) == (1, "")


def test_the_child_inherits_no_key(livekit_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "LIVEKIT_KEYS", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "private: from the user")
    server = LocalServer(livekit_program)
    livekit = server.start()
    try:
        child = psutil.Process(server.pid)
        assert "private" not in str(child.environ())
        assert livekit.api_secret not in str(child.cmdline())
        assert livekit.api_secret not in repr(livekit)
    finally:
        server.stop()


# Building it


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has no livekit-server yet: neither on PATH nor in the cache."""
    monkeypatch.setattr(sfu, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path / "faqlab"


def livekit_on_path(folder: Path, version: str) -> Path:
    program = folder / "bin" / "livekit-server"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho livekit-server version {version}\n")
    program.chmod(0o755)
    return program


def silent(sentence: str) -> None:
    raise AssertionError(sentence)


def test_a_server_on_path_is_used_if_it_is_of_the_version_meant(tmp_path: Path, empty_cache: Path) -> None:
    on_path = livekit_on_path(tmp_path, sfu.VERSION)
    assert build_server(silent) == on_path


def test_a_server_of_another_version_on_path_is_left_alone(tmp_path: Path, empty_cache: Path) -> None:
    livekit_on_path(tmp_path, "1.9.0")
    kept = empty_cache / f"livekit-server-{sfu.VERSION}"
    kept.parent.mkdir()
    kept.touch()
    assert build_server(silent) == kept


def test_whoever_comes_second_waits_for_the_first_and_says_so(empty_cache: Path) -> None:
    kept = empty_cache / f"livekit-server-{sfu.VERSION}"
    kept.parent.mkdir()
    said: list[str] = []
    results: list[Path] = []
    waits = threading.Event()

    def progress(sentence: str) -> None:
        said.append(sentence)
        waits.set()

    with FileLock(kept.with_name(f".{kept.name}.lock")):
        second = threading.Thread(target=lambda: results.append(build_server(progress)))
        second.start()
        assert waits.wait(5)
        kept.touch()
    second.join(5)
    assert results == [kept]
    assert len(said) == 1 and "waiting" in said[0]


def test_who_waits_for_the_page_says_so_and_does_not_wait_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "WEB", tmp_path)
    monkeypatch.setattr(page, "STAMP", tmp_path / "none")
    monkeypatch.setattr(sfu, "PROGRESS_SECONDS", 0.1)
    monkeypatch.setattr(sfu, "WAIT_SECONDS", 1)
    said: list[str] = []
    with (
        FileLock(tmp_path / ".build.lock"),
        pytest.raises(FaqlabError, match="building the page for 0 minutes: end it, and try again"),
    ):
        build_page(said.append)
    assert said and all(line.startswith("Another faqlab is building the page: waiting") for line in said)


def test_npm_that_fails_is_quoted_and_leaves_the_lock_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "WEB", tmp_path)
    monkeypatch.setattr(page, "STAMP", tmp_path / "none")
    for _ in range(2):
        with pytest.raises(FaqlabError, match=r"npm ci .* said: npm error"):
            build_page()


def test_a_folder_in_which_the_page_cannot_be_built_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(page, "WEB", tmp_path / "file" / "web")
    monkeypatch.setattr(page, "STAMP", tmp_path / "none")
    with pytest.raises(FaqlabError, match=r"The page cannot be built in .*file/web"):
        build_page()


def test_npm_is_given_what_it_needs_and_no_key_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "private")
    for name in ("HOME", "https_proxy", "npm_config_registry", "NPM_CONFIG_CACHE"):
        monkeypatch.setenv(name, "needed")
    given = page._environment()
    assert "private" not in given.values()
    assert [given[name] for name in ("HOME", "https_proxy", "npm_config_registry", "NPM_CONFIG_CACHE")] == [
        "needed"
    ] * 4
    assert given["PATH"].startswith(str(Path(sys.executable).parent))


def test_a_failed_build_says_why_and_what_to_do_and_leaves_nothing_in_place(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    said: list[str] = []
    with pytest.raises(FaqlabError, match=r"(?s)LIVEKIT_URL.*GOPROXY=off"):
        build_server(said.append)
    assert "Building" in said[0]
    assert not (empty_cache / f"livekit-server-{sfu.VERSION}").exists()


def test_an_interrupted_build_leaves_no_go_behind(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawned: list[subprocess.Popen[bytes]] = []
    spawn = sfu.spawn

    def slow(_: list[str], *rest: Any, **options: Any) -> subprocess.Popen[bytes]:
        spawned.append(spawn(["/bin/sleep", "60"], *rest, **options))
        return spawned[0]

    def interrupt(sentence: str) -> None:
        if "so far" in sentence:
            raise KeyboardInterrupt

    monkeypatch.setattr(sfu, "spawn", slow)
    monkeypatch.setattr(sfu, "PROGRESS_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt):
        build_server(interrupt)
    assert spawned[0].returncode == -signal.SIGKILL


# Which server


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)

    def make(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Settings(_env_file=None)  # type: ignore[call-arg]

    return make


def test_without_an_address_we_run_our_own(settings: Callable[..., Settings]) -> None:
    assert livekit_from_settings(settings(LIVEKIT_API_KEY="key")) is None


def test_an_address_with_its_key_and_secret_is_used(settings: Callable[..., Settings]) -> None:
    chosen = livekit_from_settings(
        settings(LIVEKIT_URL="wss://faq.livekit.cloud/", LIVEKIT_API_KEY="key", LIVEKIT_API_SECRET="s" * 32)
    )
    assert chosen == LiveKit("wss://faq.livekit.cloud", "key", "s" * 32, local=False)


@pytest.mark.parametrize("missing", ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"])
def test_an_address_without_its_key_or_secret_is_an_error_that_names_it(
    settings: Callable[..., Settings], missing: str
) -> None:
    given = {"LIVEKIT_URL": "wss://faq.example.com", "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "hush"}
    del given[missing]
    with pytest.raises(FaqlabError, match=f"{missing} is not") as error:
        livekit_from_settings(settings(**given))
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("address", ["faq.livekit.cloud", "https://faq.livekit.cloud", "wss://"])
def test_what_is_no_livekit_address_is_an_error(settings: Callable[..., Settings], address: str) -> None:
    with pytest.raises(FaqlabError, match="LIVEKIT_URL"):
        livekit_from_settings(settings(LIVEKIT_URL=address, LIVEKIT_API_KEY="key", LIVEKIT_API_SECRET="secret"))
