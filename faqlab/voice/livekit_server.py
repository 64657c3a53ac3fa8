"""The LiveKit server of the calls: the one that the settings name, or our own on this machine."""

import asyncio
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml
from google.protobuf.message import DecodeError
from livekit import api as lk

from faqlab.errors import FaqlabError
from faqlab.settings import Settings
from faqlab.voice.services import ChildProcess

VERSION = "1.13.5"
CONFIG = Path(__file__).with_name("livekit.yaml")
START_SECONDS = 60.0
PATIENCE_SECONDS = 1.0  # a server that twice takes longer to answer hangs, and is started again

API_ERRORS = (aiohttp.ClientError, lk.TwirpError, TimeoutError, OSError, ValueError, DecodeError)
"""What a request to a LiveKit server may raise."""


@dataclass(frozen=True)
class LiveKit:
    """A LiveKit server, its key and secret."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)

    @property
    def local(self) -> bool:
        return urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")

    @asynccontextmanager
    async def api(self, seconds: float = 10) -> AsyncIterator[lk.LiveKitAPI]:
        """Yield its API for at most *seconds*; requests may raise `API_ERRORS`."""
        # livekit-api 1.2 heeds no time-out of the session.
        async with asyncio.timeout(seconds), aiohttp.ClientSession(trust_env=not self.local) as http:
            yield lk.LiveKitAPI(self.url, self.api_key, self.api_secret, session=http)

    async def delete_room(self, name: str) -> None:
        """Delete the room *name*, which ends its call, if the server answers."""
        with suppress(*API_ERRORS):
            async with self.api() as api:
                await api.room.delete_room(lk.DeleteRoomRequest(room=name))

    async def remove_participants(self, beginning: str) -> None:
        """Remove the participants whose identities have this *beginning* from their rooms, if the server answers."""
        with suppress(*API_ERRORS):
            async with self.api(2) as api:
                for room in (await api.room.list_rooms(lk.ListRoomsRequest())).rooms:
                    listed = await api.room.list_participants(lk.ListParticipantsRequest(room=room.name))
                    for participant in listed.participants:
                        if participant.identity.startswith(beginning):
                            who = lk.RoomParticipantIdentity(room=room.name, identity=participant.identity)
                            await api.room.remove_participant(who)

    async def answers(self, seconds: float = 10) -> bool:
        """Whether the server answers within *seconds* and accepts the key."""
        with suppress(*API_ERRORS):
            async with self.api(seconds) as api:
                await api.room.list_rooms(lk.ListRoomsRequest(names=["-"]))
                return True
        return False


def livekit_from_settings(settings: Settings) -> LiveKit | None:
    """Return the server that the settings name, None if we run our own; FaqlabError if its key or secret is missing."""
    url, key, secret = settings.livekit_url, settings.livekit_api_key, settings.livekit_api_secret
    if url is None:
        return None
    if key is None or secret is None:
        missing = "LIVEKIT_API_KEY" if key is None else "LIVEKIT_API_SECRET"
        raise FaqlabError(
            f"LIVEKIT_URL is set, but {missing} isn't; set it too, or remove LIVEKIT_URL and use `faqlab serve`."
        )
    return LiveKit(url, key, secret.get_secret_value())


def program() -> Path:
    """Return the livekit-server that `make build` has built for this user; raise FaqlabError if it isn't there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "faqlab" / f"livekit-server-{VERSION}"
    if not path.is_file():
        raise FaqlabError(f"{path}: livekit-server isn't built yet; run `make build`, or set LIVEKIT_URL.")
    return path


class LocalServer(ChildProcess):
    """
    Our own livekit-server: loopback only, free ports, a new key and secret at each `start`, which sets `livekit`.

    Started again after a crash, or when it doesn't answer, it has the same ports and key: callers reconnect to it.
    """

    livekit: LiveKit

    def __init__(self, path: Path, say: Callable[[str], None] = lambda sentence: None) -> None:
        inherited = ("PATH", "HOME", "TMPDIR", "LANG")  # and none of the user's keys
        environment = {name: os.environ[name] for name in inherited if name in os.environ}
        super().__init__("livekit-server", [str(path)], environment, say)

    async def _serve(self) -> None:
        tcp_port, udp_port = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        key, secret = f"faqlab{secrets.token_hex(6)}", secrets.token_urlsafe(48)
        self.livekit = LiveKit(f"ws://127.0.0.1:{tcp_port}", key, secret)
        self._environment["LIVEKIT_CONFIG"] = json.dumps(server_config(self.livekit, tcp_port, udp_port))
        await super()._serve()

    async def _watch(self) -> str:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self.livekit.answers():  # another process on its port wouldn't accept the key
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return f"it didn't answer within {START_SECONDS:.0f} seconds"
        self._is_up()
        misses, now = 0, asyncio.get_running_loop().time
        while misses < 2:
            began = now()
            await asyncio.sleep(0.5)
            late = now() - began > 1  # then we hang, not the server
            misses = 0 if await self.livekit.answers(PATIENCE_SECONDS) or late else misses + 1
        return "it didn't answer any more"

    async def _prepare_end(self) -> None:
        with suppress(Exception):  # otherwise the server waits until the callers have left
            async with self.livekit.api(0.5) as api:
                for room in (await api.room.list_rooms(lk.ListRoomsRequest())).rooms:
                    await api.room.delete_room(lk.DeleteRoomRequest(room=room.name))


def free_port(kind: socket.SocketKind) -> int:
    """Return a port of 127.0.0.1 that nobody uses."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_config(livekit: LiveKit, tcp_port: int, udp_port: int) -> dict[str, Any]:
    """Return the configuration of a livekit-server that listens on loopback only, at these ports."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["rtc"]["udp_port"] = udp_port
    return config | {"port": tcp_port, "keys": {livekit.api_key: livekit.api_secret}}
