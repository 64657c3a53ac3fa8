"""
The LiveKit server of the calls: the one that the settings name, or our own on this machine.

Our own is livekit-server, built by `make build`. It listens on loopback only and ends with this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import aiohttp
from livekit.api import DeleteRoomRequest, ListRoomsRequest, LiveKitAPI, TwirpError

from faqlab.errors import FaqlabError
from faqlab.settings import Settings
from faqlab.voice.services import BackgroundService

VERSION = "1.13.5"
START_SECONDS = 60
STOP_SECONDS = 0.5


@dataclass(frozen=True)
class LiveKit:
    """A LiveKit server, its key and secret; `local` if it is our own."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)
    local: bool

    async def answers(self, seconds: float = 10) -> bool:
        """Whether the server answers within *seconds* and accepts the key."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=not self.local) as http:
            try:
                api = LiveKitAPI(self.url, self.api_key, self.api_secret, session=http)
                await api.room.list_rooms(ListRoomsRequest(names=["-"]))
            except (aiohttp.ClientError, TwirpError, TimeoutError, OSError, ValueError):
                return False
        return True


def livekit_from_settings(settings: Settings) -> LiveKit | None:
    """
    Return the server that the settings name, or None if we are to run our own.

    Raises:
        FaqlabError: LIVEKIT_URL isn't the address of a LiveKit server, or is set without its key or secret.
    """
    url, key, secret = settings.livekit_url, settings.livekit_api_key, settings.livekit_api_secret
    if url is None:
        return None
    if not re.match(r"wss?://[\w\[]", url):
        raise FaqlabError("LIVEKIT_URL isn't a LiveKit address; it should look like wss://my-project.livekit.cloud.")
    if key is None or secret is None:
        missing = "LIVEKIT_API_KEY" if key is None else "LIVEKIT_API_SECRET"
        raise FaqlabError(
            f"LIVEKIT_URL is set, but {missing} isn't; set it too, or remove LIVEKIT_URL to run a server here."
        )
    return LiveKit(url.rstrip("/"), key, secret.get_secret_value(), local=False)


def program() -> Path:
    """Return the livekit-server that `make build` has built for this user; raise FaqlabError if it isn't there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "faqlab" / f"livekit-server-{VERSION}"
    if not path.is_file():
        raise FaqlabError(f"{path}: livekit-server isn't built yet; run `make build`, or set LIVEKIT_URL.")
    return path


class LocalServer(BackgroundService):
    """
    Our own livekit-server: loopback only, free ports, a new key and secret at each start.

    It ends when this process does, even if that is killed; Ctrl-C doesn't stop it. `start` sets `livekit` and `pid`.
    """

    livekit: LiveKit
    pid: int

    def __init__(self, path: Path) -> None:
        super().__init__("livekit-server")
        self._path = path

    async def _serve(self) -> None:
        tcp_port, udp_port = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
        key, secret = f"faqlab{secrets.token_hex(6)}", secrets.token_urlsafe(48)
        self.livekit = LiveKit(f"ws://127.0.0.1:{tcp_port}", key, secret, local=True)
        config = _config(self.livekit, tcp_port, udp_port)
        # The file is open to append: the server shares our position in it.
        with TemporaryFile("a+b") as output, _spawn(self._path, config, output) as process:
            try:
                self.pid = process.pid
                ended = asyncio.create_task(asyncio.to_thread(process.wait))
                starting = asyncio.create_task(self._wait_until_ready(process))
                await self._until_stopped(ended)
                starting.cancel()
                if ended.done() and self._ready.done():
                    raise ChildProcessError(f"status {process.returncode}")
                if ended.done():
                    output.seek(0)
                    end = b"\n".join(output.read().splitlines()[-8:]).decode(errors="replace")
                    raise FaqlabError(f"{self._path}: livekit-server didn't start. The end of its output:\n{end}")
                with suppress(Exception):  # otherwise the server waits until the callers have left
                    await _delete_rooms(self.livekit)
                process.terminate()  # it ignores this during its first 0.2 s
                await asyncio.wait([ended], timeout=STOP_SECONDS)
            finally:
                process.kill()

    async def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until *our* server answers; another process on its port wouldn't accept the key."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self.livekit.answers():
                    await asyncio.sleep(0.02)
            self._is_ready()
        except TimeoutError:
            process.kill()


async def _delete_rooms(livekit: LiveKit) -> None:
    async with asyncio.timeout(STOP_SECONDS), LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as api:
        for room in (await api.room.list_rooms(ListRoomsRequest())).rooms:
            await api.room.delete_room(DeleteRoomRequest(room=room.name))


def _spawn(path: Path, config: dict[str, Any], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start livekit-server so that it ignores Ctrl-C, sees none of the user's keys and dies with this process."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return subprocess.Popen(
        ["/bin/sh", "-c", WATCHED, "sh", str(path)],
        env=inherited | {"LIVEKIT_CONFIG": json.dumps(config)},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


# Only this process holds the other end of stdin. The shell in the background reads from it until this process ends,
# even by SIGKILL, and then kills its process group, which is the server and itself.
WATCHED = 'exec 3<&0; { read _ <&3; kill -9 0; } & exec "$@" 3<&-'


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
