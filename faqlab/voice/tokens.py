"""
The server that lets callers in: the page, and for each caller a token to a room of its own.

It listens on loopback and answers its own page alone, unless the options say otherwise.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from livekit.api import (
    AccessToken,
    ListRoomsRequest,
    LiveKitAPI,
    RoomAgentDispatch,
    RoomConfiguration,
    TwirpError,
    VideoGrants,
)
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import RequestResponseEndpoint

from faqlab import __version__
from faqlab.errors import FaqlabError
from faqlab.voice.sfu import LiveKit

PAGE = Path(__file__).resolve().parents[1] / "web" / "dist"
PORT = 8000
PORTS_TRIED = 100
START_SECONDS = 10
MAX_BODY = 8 * 1024
LOOPBACK = ("127.0.0.1", "localhost")
HEALTH_SECONDS = 2

NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>faqlab</title>
<p>The page is not built yet. <code>make setup</code> builds it; then load this page again.</p></html>"""


@dataclass(frozen=True)
class TokenOptions:
    """What a caller is given, and who may ask."""

    ttl: timedelta = timedelta(minutes=10)
    """How long a token opens the door. LiveKit allows a minute more; a call under way goes on."""
    agent_name: str = "faqlab"
    """The agent that is called into each new room."""
    fixed_room: str | None = None
    """
    One room for everybody, and for one caller at a time: the agent talks with the first who is in it; the others hear
    both, and are put out when that call ends.
    """
    allow_choice: bool = False
    """Whether callers may name their room and identity."""
    allowed_hosts: tuple[str, ...] = ()
    """Names without port by which this server may be called, besides 127.0.0.1 and localhost."""
    allowed_origins: tuple[str, ...] = ()
    """Other pages that may ask for tokens and show this one in a frame: `https://faq.example.com`."""
    page: Path = field(default=PAGE)
    """The folder with the built page."""


def _not_livekits(key: str) -> str:
    if key.startswith("lk."):
        raise ValueError("names that begin with 'lk.' are LiveKit's own")
    return key


AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_not_livekits)]
AttributeValue = Annotated[str, StringConstraints(max_length=512)]


class TokenRequest(BaseModel):
    """What LiveKit's token endpoint standard lets a caller ask for. All of it may be left out."""

    model_config = ConfigDict(extra="forbid")

    room_name: str | None = Field(
        default=None, max_length=128, description="Refused unless the server allows a choice."
    )
    participant_identity: str | None = Field(default=None, max_length=128, description="Refused likewise.")
    participant_name: str | None = Field(default=None, max_length=128, description="How the caller is shown.")
    participant_metadata: str | None = Field(
        default=None, max_length=2048, description="Passed on to the agent as it is."
    )
    participant_attributes: dict[AttributeName, AttributeValue] | None = Field(
        default=None, max_length=16, description="Passed on to the agent as they are."
    )


class Token(BaseModel):
    """A way into one room."""

    token: str = Field(description="A LiveKit access token (JWT), good for one room and a few minutes.")
    url: str = Field(description="The LiveKit server to take it to.")


class StandardToken(BaseModel):
    """A way into one room, in the words of LiveKit's token endpoint standard."""

    server_url: str = Field(description="The LiveKit server to take the token to.")
    participant_token: str = Field(description="A LiveKit access token (JWT), good for one room and a few minutes.")


class Health(BaseModel):
    """How the server is."""

    status: str = Field(description='"ok": it answers.')
    version: str = Field(description="Of faqlab.")
    livekit: bool = Field(description="Whether the LiveKit server answers and takes our key.")


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="A sentence: what is wrong and what to do.")


def create_app(livekit: LiveKit, options: TokenOptions) -> FastAPI:
    """Return the app that gives out tokens for *livekit* and serves the page."""
    app = FastAPI(
        title="faqlab tokens",
        version=__version__,
        description="Tokens that let a caller talk to the FAQ over LiveKit. Each is for one room, one caller and a "
        "few minutes. Ask from the page that this server serves, or without a browser.",
        docs_url=None,  # both would load scripts from elsewhere
        redoc_url=None,
        responses={code: {"model": Problem} for code in (400, 403)},
    )

    @app.get("/getToken", summary="A token for a new caller", tags=["tokens"])
    async def get_token() -> Token:  # async: no thread, which would outlive the server for a moment
        """Give a fresh token: new identity, new room, the agent on its way."""
        return Token(token=mint_token(livekit, options, TokenRequest()), url=livekit.url)

    @app.post(
        "/getToken",
        status_code=HTTPStatus.CREATED,
        summary="The same, by LiveKit's token endpoint standard",
        tags=["tokens"],
        responses={code: {"model": Problem} for code in (411, 413, 422)},
    )
    async def post_token(request: TokenRequest | None = None) -> StandardToken:
        """Give a fresh token that carries the caller's name, metadata and attributes."""
        token = mint_token(livekit, options, request or TokenRequest())
        return StandardToken(server_url=livekit.url, participant_token=token)

    @app.get("/health", summary="Is it up, and LiveKit with it?", tags=["health"])
    async def health() -> Health:
        """Ask the LiveKit server for its rooms, and give up after two seconds."""
        return Health(status="ok", version=__version__, livekit=await _answers(livekit))

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        index = options.page / "index.html"
        if not index.is_file():
            return HTMLResponse(NOT_BUILT, HTTPStatus.SERVICE_UNAVAILABLE)
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        path = options.page / "assets" / name
        if not path.is_file():
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return FileResponse(path, headers={"Cache-Control": "public, max-age=31536000, immutable"})  # hash in its name

    if options.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type"],
        )
    headers = _headers(livekit, options)

    @app.middleware("http")
    async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = _refusal(request, options) or await call_next(request)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The request cannot be used. {'; '.join(problems)}.")

    @app.exception_handler(StarletteHTTPException)
    def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        sentences: dict[int, str] = {
            HTTPStatus.NOT_FOUND: "There is nothing at this address: /openapi.json lists what there is.",
            HTTPStatus.METHOD_NOT_ALLOWED: f"This address does not answer {request.method}.",
        }
        return _problem(error.status_code, sentences.get(error.status_code, error.detail), error.headers)

    return app


def mint_token(livekit: LiveKit, options: TokenOptions, asked: TokenRequest) -> str:
    """
    Return a token (JWT) for one caller and one room, to which it also calls the agent.

    Raises:
        HTTPException: 403, the caller asks for a room or identity that is not its to choose.
    """
    room = options.fixed_room or f"faq-{secrets.token_hex(16)}"
    identity = f"caller-{secrets.token_hex(8)}"
    if options.allow_choice:
        room, identity = asked.room_name or room, asked.participant_identity or identity
    elif asked.room_name not in (None, "", options.fixed_room) or asked.participant_identity:
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            "Rooms and identities are not for the caller to choose here: leave out room_name and participant_identity.",
        )
    token = (
        AccessToken(livekit.api_key, livekit.api_secret)
        .with_ttl(options.ttl)
        .with_identity(identity)
        .with_grants(
            VideoGrants(
                room_join=True,
                room=room,
                can_publish=True,
                can_publish_sources=["microphone"],
                can_subscribe=True,
                can_publish_data=False,  # left out, LiveKit would allow it
            )
        )
        # Takes effect when the room is made, that is, when its first caller joins.
        .with_room_config(RoomConfiguration(agents=[RoomAgentDispatch(agent_name=options.agent_name)]))
    )
    if asked.participant_name:
        token = token.with_name(asked.participant_name)
    if asked.participant_metadata:
        token = token.with_metadata(asked.participant_metadata)
    if asked.participant_attributes:
        token = token.with_attributes(asked.participant_attributes)
    return token.to_jwt()


async def _answers(livekit: LiveKit) -> bool:
    patience = aiohttp.ClientTimeout(total=HEALTH_SECONDS)
    try:
        async with LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret, timeout=patience) as api:
            await api.room.list_rooms(ListRoomsRequest(names=["-"]))
    except (aiohttp.ClientError, TwirpError, TimeoutError, OSError, ValueError):
        return False
    return True


def _refusal(request: Request, options: TokenOptions) -> JSONResponse | None:
    """Return why *request* is not answered at all, or None if it is."""
    host = request.headers.get("host", "")
    if _hostname(host) not in (*LOOPBACK, *options.allowed_hosts):  # a name that was made to point here
        _, port = request.scope.get("server") or ("", PORT)
        here = f"on its own machine as http://127.0.0.1:{port}/, or add the name to FAQLAB_ALLOWED_HOSTS"
        return _problem(HTTPStatus.FORBIDDEN, f"This server does not go by that name: open it {here}.")
    origin = request.headers.get("origin")
    if origin is not None and origin not in (f"{request.url.scheme}://{host}", *options.allowed_origins):
        return _problem(HTTPStatus.FORBIDDEN, "This server answers its own page only, not those of other origins.")
    if "transfer-encoding" in request.headers:
        return _problem(HTTPStatus.LENGTH_REQUIRED, "Send the request with a Content-Length.")
    if int(request.headers.get("content-length", 0)) > MAX_BODY:
        return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is too long: {MAX_BODY} bytes at most.")
    return None


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _problem(status: int, sentence: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status, headers)


def _headers(livekit: LiveKit, options: TokenOptions) -> dict[str, str]:
    """Return what every response carries."""
    server = urlsplit(livekit.url).netloc
    if server.endswith(".livekit.cloud"):
        server = "*.livekit.cloud"  # a project's callers are sent on to the nearest region
    secure = "s" if livekit.url.startswith("wss:") else ""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "media-src": "'self' blob: mediastream:",
        "connect-src": f"'self' ws{secure}://{server} http{secure}://{server}",
        "base-uri": "'none'",
        "form-action": "'none'",
        # JupyterLab shows the page in a frame, from whatever port it has.
        "frame-ancestors": " ".join(["'self'", *(f"http://{name}:*" for name in LOOPBACK), *options.allowed_origins]),
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Permissions-Policy": "microphone=(self), camera=(), display-capture=(), geolocation=()",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


class TokenServer:
    """
    Runs the app on 127.0.0.1, in a thread of its own (`start`, `stop`, `with`) or in a loop of yours (`serve`).

    It touches no signal handler and no logging, and can be started again once stopped.

    Args:
        livekit: The server that tokens are for.
        options: What a caller is given, and who may ask.
        port: Where to listen; None takes 8000 or the next that is free, and `url` says which.
    """

    def __init__(self, livekit: LiveKit, options: TokenOptions | None = None, port: int | None = None) -> None:
        self._app = create_app(livekit, options or TokenOptions())
        self._port = port
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._serving = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> TokenServer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where the page is: the link to give to callers."""
        if self._socket is None:
            raise RuntimeError("The token server is not running.")
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    def start(self) -> str:
        """
        Serve in a thread of its own, and return the URL once it answers; that of a server that runs already.

        Raises:
            FaqlabError: the port is taken.
        """
        if self._socket is not None:
            return self.url
        try:
            self.bind()
            self._thread = threading.Thread(target=self._run, args=(self._server,), name="faqlab-tokens", daemon=True)
            self._thread.start()
            deadline = time.monotonic() + START_SECONDS
            while not (self._server and self._server.started):  # it has none any more when it has ended
                if not self._thread.is_alive() or time.monotonic() > deadline:
                    raise FaqlabError("The token server did not start: its log, `uvicorn.error`, says why.")
                time.sleep(0.005)
        except BaseException:
            self.stop()
            raise
        return self.url

    def _run(self, server: uvicorn.Server) -> None:
        if not server.should_exit:
            asyncio.run(self.serve())

    @property
    def problem(self) -> str | None:
        """Why it has ended by itself, in a sentence; None if it runs, or was stopped."""
        dead = self._thread is not None and not self._thread.is_alive()
        return "The server of the page and its tokens has ended by itself." if dead else None

    def stop(self) -> None:
        """Stop serving and free the port. Does nothing if it is not running."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            if self._thread.is_alive():  # or it has ended, or an interrupt came before it began, and it never will
                self._thread.join()
            self._thread = None
        if not self._serving:
            self._release()

    def bind(self) -> str:
        """
        Take the port and return the URL: what arrives from now on waits until `serve` answers it.

        Raises:
            FaqlabError: the port is taken.
        """
        self._socket = listen(self._port)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        self._server.capture_signals = nullcontext  # type: ignore[assignment,method-assign]
        return self.url

    async def serve(self) -> None:
        """
        Serve until `stop` is called, from any thread, or this task is cancelled.

        Raises:
            FaqlabError: the port is taken.
        """
        if self._socket is None:
            self.bind()
        assert self._socket is not None and self._server is not None
        self._serving = True
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._serving = False
            self._release()

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._server = None


def listen(port: int | None) -> socket.socket:
    """
    Return a socket that listens on *port* of 127.0.0.1; None takes 8000 or the next that is free.

    Raises:
        FaqlabError: the port is taken.
    """
    for candidate in range(PORT, PORT + PORTS_TRIED) if port is None else [port]:
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError as error:
            problem = os.strerror(error.errno or 0)  # its own text names the address a second time
    if port is None:
        raise FaqlabError(f"None of the ports {PORT} to {PORT + PORTS_TRIED - 1} is free: give one that is.")
    raise FaqlabError(f"Port {port} cannot be used ({problem}): give another, or none to take a free one.")
