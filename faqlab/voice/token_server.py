"""The server that lets callers in: it serves the page, and gives each caller a token to a new room."""

import asyncio
import math
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from limits import RateLimitItemPerMinute
from limits.aio import storage, strategies
from livekit.api import AccessToken, RoomAgentDispatch, RoomConfiguration, VideoGrants
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from faqlab import __version__
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.settings import Settings
from faqlab.voice.livekit_server import LiveKit
from faqlab.voice.services import BackgroundService

PAGE = Path(__file__).resolve().parents[1] / "web" / "dist"
PORTS = range(8000, 8100)
MAX_CONNECTIONS = 200  # macOS allows 256 open files
EMPTY_ROOM_SECONDS = 20
EXAMPLES = 4
LOOPBACK = ("127.0.0.1", "localhost")


class TokenServer(BackgroundService):
    """Serves the page in the folder *page*, and tokens for *livekit*, on 127.0.0.1; `listen` says on which *port*."""

    url: str  # the page's address for callers, set by `start`

    def __init__(self, livekit: LiveKit, settings: Settings, port: int | None = None, page: Path = PAGE) -> None:
        super().__init__("The token server")
        self._livekit, self._settings, self._port, self._page = livekit, settings, port, page

    async def _serve(self) -> None:
        if not (self._page / "index.html").is_file():
            raise FaqlabError(f"{self._page}: the page isn't built yet; run `make build`.")
        config = uvicorn.Config(
            create_app(self._livekit, self._settings, self._page),
            backlog=100,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # it would warn of each invalid request
            access_log=False,
            server_header=False,
            headers=[*_headers(self._livekit, self._settings.allowed_origins).items()],
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        with listen(self._port) as sock:
            self.url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            self._is_ready()  # a request that comes now waits until the server is up
            await self._until_stopped(serving)
            server.should_exit = True
            await serving


def listen(port: int | None) -> socket.socket:
    """Return a socket that listens on *port* of 127.0.0.1 (None: 8000 or the next free one), or raise FaqlabError."""
    for candidate in PORTS if port is None else [port]:
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError as error:
            problem = os.strerror(error.errno or 0)
    if port is None:
        raise FaqlabError(f"Ports {PORTS[0]} to {PORTS[-1]} are all in use; set --port or FAQLAB_PORT to a free one.")
    raise FaqlabError(f"Port {port} can't be used ({problem}); choose another, or leave it out to use a free one.")


def create_app(livekit: LiveKit, settings: Settings, page: Path) -> FastAPI:
    """Return the app that gives out tokens for *livekit* and serves *page*."""
    # FastAPI's own pages about the API would load scripts from other hosts.
    app = FastAPI(title="faqlab tokens", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(CORSMiddleware, allow_origins=settings.allowed_origins, allow_methods=["GET"])
    hosts = [*LOOPBACK, *settings.allowed_hosts]  # otherwise another site could point its own name at this machine
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    limit, shown = [Depends(rate_limit(settings.tokens_per_minute))], facts(livekit, settings)

    @app.get("/getToken", summary="A token for a new caller", dependencies=limit)
    async def get_token() -> dict[str, str]:
        return {"token": mint_token(livekit, settings), "url": livekit.url}

    @app.get("/config", summary="What the page says of this FAQ, and of who receives what callers say")
    async def config() -> dict[str, Any]:
        return shown

    @app.get("/health", summary="Whether it is running, and whether LiveKit answers and accepts our key")
    async def health() -> dict[str, str | bool]:
        return {"status": "ok", "version": __version__, "livekit": await livekit.answers(seconds=1.5)}

    app.mount("/", StaticFiles(directory=page, html=True))
    return app


def facts(livekit: LiveKit, settings: Settings) -> dict[str, Any]:
    """Return the page's title, the first question of each of some categories, and who receives what callers say."""
    firsts = dict[str, str]()  # by category
    with suppress(FaqlabError):  # where only the page is served, the FAQ may be missing
        for faq in FaqSet.load(settings.faqs):
            firsts.setdefault(faq.category or faq.id, faq.question)
    return {
        "title": settings.title,
        "examples": [*firsts.values()][:EXAMPLES],
        "gemini": settings.google_api_key is not None,
        "server": None if livekit.local else urlsplit(livekit.url).hostname,
        "saved": settings.records is not None,
    }


def rate_limit(per_minute: int) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that lets *per_minute* requests of an address through, and ten times as many in all."""
    # The other strategies of limits 5.8 go on refusing for as long as the wall clock is set back.
    window = strategies.SlidingWindowCounterRateLimiter(storage.MemoryStorage())
    each, in_all = RateLimitItemPerMinute(per_minute), RateLimitItemPerMinute(10 * per_minute)

    async def limit(request: Request) -> None:
        for most, who in ((each, request.client.host if request.client else "?"), (in_all, "all")):
            if not await window.hit(most, who):
                wait = (await window.get_window_stats(most, who)).reset_time - time.time()
                seconds = str(max(1, math.ceil(wait)))
                detail = f"Too many tokens were requested in the last minute; try again in {seconds} s."
                raise HTTPException(429, detail, {"Retry-After": seconds})

    return limit


def mint_token(livekit: LiveKit, settings: Settings) -> str:
    """Return a token (JWT) for one caller and one room, which also has LiveKit dispatch the agent to that room."""
    # By default, it also allows to subscribe, and to publish data: typed questions.
    grants = VideoGrants(room_join=True, room=f"faq-{secrets.token_hex(16)}", can_publish_sources=["microphone"])
    room = RoomConfiguration(
        empty_timeout=EMPTY_ROOM_SECONDS,
        departure_timeout=EMPTY_ROOM_SECONDS,
        max_participants=2,  # one more, for a caller who comes back before they are missed
        agents=[RoomAgentDispatch(agent_name=settings.agent_name)],
    )
    return (
        AccessToken(livekit.api_key, livekit.api_secret)
        .with_ttl(timedelta(minutes=settings.token_minutes))
        .with_identity(f"caller-{secrets.token_hex(8)}")
        .with_grants(grants)
        .with_room_config(room)
        .to_jwt()
    )


def _headers(livekit: LiveKit, origins: tuple[str, ...]) -> dict[str, str]:
    """Return what every response carries."""
    scheme, server = urlsplit(livekit.url)[:2]
    if server.endswith(".livekit.cloud"):
        server = "*.livekit.cloud"  # callers are redirected to the nearest region
    calls = f"{scheme}://{server} {scheme.replace('ws', 'http')}://{server}"
    # JupyterLab shows the page in a frame, from any port.
    frames = " ".join(["'self'", *(f"http://{name}:*" for name in LOOPBACK), *origins])
    return {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"media-src 'self' blob: mediastream:; connect-src 'self' {calls}; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {frames}",
        "Permissions-Policy": "microphone=(self), camera=(), display-capture=(), geolocation=()",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",  # a token stays in no cache
    }
