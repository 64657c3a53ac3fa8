"""
A stand-in for Gemini Live, which no machine here reaches: it speaks Gemini's wire protocol over TLS.

It answers what it's asked, by text or by 16 kHz audio, with a call of the first tool that it was given, waits for the
result if that tool is blocking, and speaks it in 24 kHz. As the real one does: JSON in binary frames, `setup` first,
the key in a header, 1007 for a wrong key, `interrupted` when the user speaks over it. Its faults are `Mood`s.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import numpy as np
import trustme
from google.genai.types import HttpOptions
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

PATH = re.compile(r"/+ws/google\.ai\.generativelanguage\.v1(alpha|beta)?\.GenerativeService\.BidiGenerateContent")
IN_RATE, OUT_RATE = 16_000, 24_000
LOUD = 200.0
END_OF_SPEECH_S = 0.5
SLOW_S = 4.0
GREETING = "Welcome to the shop."
INVENTION = "You have 90 days, and it costs £12."
GUESS = "I am just guessing here."
INTERNAL_ERROR = "Internal error encountered."

_quiet = logging.getLogger("gemini_emulator")
_quiet.setLevel(logging.WARNING)  # at DEBUG the server logs the key


class Mood(Enum):
    """How a connection is treated."""

    WELL = auto()
    FORBIDDEN = auto()  # HTTP 403 instead of a WebSocket
    BROKEN = auto()  # closed as soon as it's set up
    MUTE = auto()  # set up, and never a word
    STUCK = auto()  # greets, and transcribes a question, and then nothing comes
    FROZEN = auto()  # greets, and from the first question on it neither reads nor writes, as if the network were gone
    SLOW = auto()  # takes its time for each answer
    CUT_OFF = auto()  # closed in the middle of an answer
    STALLED = auto()  # frozen in the middle of an answer
    CANCELLING = auto()  # takes the first tool call back at once, and makes another
    DEAF = auto()  # follows instructions and ignores questions
    INVENTING = auto()  # adds to each answer what no entry says
    HANGING = auto()  # never set up


@dataclass
class Connection:
    """What one connection has brought."""

    setup: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    tool_responses: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class GeminiEmulator:
    """
    `async with GeminiEmulator() as gemini:`, then point google-genai at `gemini.http_options`.

    Args:
        moods: For the connections to come; the last one is for all that follow.
        transcribe: Returns the words of float32 audio, 16 kHz.
        speak: Returns float32 audio of words, 24 kHz.
        close_code: With which a broken connection is closed.
        take_time: Returns when a slow one goes on.
    """

    def __init__(
        self,
        *moods: Mood,
        transcribe: Callable[[np.ndarray], str] = lambda audio: "",
        speak: Callable[[str], np.ndarray] = lambda text: np.zeros(OUT_RATE // 100, np.float32),
        close_code: int = 1011,
        take_time: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(SLOW_S),
    ) -> None:
        self.moods, self.transcribe, self.speak = list(moods or [Mood.WELL]), transcribe, speak
        self.close_code, self.take_time = close_code, take_time
        self.api_key = f"AIza{secrets.token_urlsafe(24)}"
        self.connections: list[Connection] = []
        self._live: set[_Conversation] = set()
        self._authority = trustme.CA()

    async def __aenter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server: Server = await serve(
            self._converse, "127.0.0.1", 0, ssl=context, process_request=self._admit, close_timeout=1, logger=_quiet
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.refuse()
        for websocket in list(self._server.connections):
            await websocket.close()
        await self._server.wait_closed()

    @property
    def http_options(self) -> HttpOptions:
        """What google-genai needs to come here instead of to Google."""
        trusted = ssl.create_default_context()
        self._authority.configure_trust(trusted)
        return HttpOptions(base_url=f"https://127.0.0.1:{self._port}", async_client_args={"ssl": trusted})

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the variables by which another process comes here; *folder* gets our certificate."""
        certificate = folder / "emulator.pem"
        self._authority.cert_pem.write_to_path(str(certificate))
        address = f"https://127.0.0.1:{self._port}"
        return {
            "GOOGLE_API_KEY": self.api_key,
            "GOOGLE_GEMINI_BASE_URL": address,
            "SSL_CERT_FILE": str(certificate),
        }

    def refuse(self) -> None:
        """Refuse all connects from now on; open connections stay."""
        self._server.close(close_connections=False)

    async def break_off(self) -> None:
        """Close all connections with the close code."""
        for conversation in list(self._live):
            await conversation.websocket.close(self.close_code, INTERNAL_ERROR)

    async def go_away(self) -> None:
        """Announce the end of all connections, as the real one does every ten minutes."""
        for conversation in list(self._live):
            await conversation.send(goAway={"timeLeft": "1s"})

    def _admit(self, websocket: ServerConnection, request: Request) -> Response | None:
        if not PATH.fullmatch(request.path.partition("?")[0]):
            return websocket.respond(HTTPStatus.NOT_FOUND, "no such method\n")
        if self.moods[0] is Mood.FORBIDDEN:
            self._begin()
            return websocket.respond(HTTPStatus.FORBIDDEN, "The caller does not have permission\n")
        return None

    def _begin(self) -> tuple[Mood, Connection]:
        mood = self.moods.pop(0) if len(self.moods) > 1 else self.moods[0]
        self.connections.append(Connection())
        return mood, self.connections[-1]

    async def _converse(self, websocket: ServerConnection) -> None:
        mood, connection = self._begin()
        with suppress(ConnectionClosed):
            connection.setup = json.loads(await websocket.recv())["setup"]
            assert websocket.request
            if websocket.request.headers.get("x-goog-api-key") != self.api_key:
                await websocket.close(1007, "API key not valid. Please pass a valid API key.")
            elif mood is Mood.HANGING:
                await websocket.wait_closed()
            else:
                conversation = _Conversation(self, websocket, connection, mood)
                await conversation.send(setupComplete={})
                if mood is Mood.BROKEN:
                    await websocket.close(self.close_code, INTERNAL_ERROR)
                self._live.add(conversation)
                try:
                    await conversation.run()
                finally:
                    self._live.discard(conversation)


class _Conversation:
    def __init__(self, emulator: GeminiEmulator, websocket: ServerConnection, log: Connection, mood: Mood) -> None:
        self.emulator, self.websocket, self.log, self.mood = emulator, websocket, log, mood
        declarations = [tool for group in log.setup.get("tools", []) for tool in group.get("functionDeclarations", [])]
        self.tool: dict[str, Any] = declarations[0]
        self.question = ""
        self.turn: asyncio.Task[None] | None = None
        self.responses: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.speech: list[np.ndarray] = []
        self.silence = 0.0

    async def run(self) -> None:
        try:
            async for data in self.websocket:
                for kind, content in json.loads(data).items():
                    await self.receive(kind, content)
        finally:
            if self.turn:
                self.turn.cancel()

    async def send(self, **message: Any) -> None:
        with suppress(ConnectionClosed):
            await self.websocket.send(json.dumps(message).encode())

    async def receive(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "realtime_input":
            await self.listen(content["audio"])
        elif kind == "client_content":
            self.read(content.get("turns") or [], content["turnComplete"])
        elif kind == "tool_response":
            for response in content["functionResponses"]:
                self.log.tool_responses.append(response)
                self.responses.put_nowait(response)
        else:
            await self.websocket.close(1007, f'Invalid JSON payload received. Unknown name "{kind}".')

    def read(self, turns: list[dict[str, Any]], complete: bool) -> None:
        text = " ".join(part.get("text", "") for turn in turns[-1:] for part in turn.get("parts", []))
        if not complete:
            self.question = text if turns and turns[-1].get("role") == "user" else ""
        elif text:
            self.log.prompts.append(text)
            self.begin(self.say(GREETING))
        elif self.question:
            question, self.question = self.question, ""
            self.begin(self.answer(question))

    async def listen(self, blob: dict[str, str]) -> None:
        assert blob["mime_type"] == f"audio/pcm;rate={IN_RATE}"
        data = base64.b64decode(blob["data"].replace("-", "+").replace("_", "/"))
        frame = np.frombuffer(data, np.int16).astype(np.float32)
        if float(np.sqrt(np.square(frame).mean())) > LOUD:
            self.silence = 0.0
            if not self.speech and self.turn and not self.turn.done():
                self.turn.cancel()
                await self.send(serverContent={"interrupted": True})
                await self.send(serverContent={"turnComplete": True})
        else:
            self.silence += len(frame) / IN_RATE
        if self.silence == 0.0 or self.speech:
            self.speech.append(frame)
        if self.speech and self.silence >= END_OF_SPEECH_S:
            speech, self.speech = np.concatenate(self.speech) / 32768, []
            if words := await asyncio.to_thread(self.emulator.transcribe, speech):
                self.begin(self.answer(words, transcribed=True))

    def begin(self, turn: Coroutine[Any, Any, None]) -> None:
        if self.mood is Mood.MUTE:
            turn.close()
            return
        if self.turn:
            self.turn.cancel()
        self.turn = asyncio.create_task(turn)

    async def answer(self, question: str, transcribed: bool = False) -> None:
        self.log.asked.append(question)
        if self.mood is Mood.DEAF:
            return
        if transcribed:
            await self.send(serverContent={"inputTranscription": {"text": " " + question}})
        if self.mood is Mood.STUCK:
            return
        if self.mood is Mood.FROZEN:
            self.websocket.transport.pause_reading()
            return
        if self.mood is Mood.SLOW:
            await self.emulator.take_time()
        if self.mood is Mood.CANCELLING:
            self.mood = Mood.WELL
            cancelled = await self.call_tool(question)
            await self.send(toolCallCancellation={"ids": [cancelled["id"]]})
        call = await self.call_tool(question)
        if self.tool.get("behavior") != "BLOCKING":  # the default of Gemini 3.8
            await self.say(GUESS)
        while (response := await self.responses.get())["id"] != call["id"]:
            pass  # of an earlier connection: the plugin sends what it isn't sure of again
        if output := response["response"]["output"]:
            result = json.loads(output)
            said = result["say"] or result["answers"][0]["answer"]
            await self.say(f"{said} {INVENTION}" if self.mood is Mood.INVENTING else said)

    async def call_tool(self, question: str) -> dict[str, Any]:
        call = {"id": f"function-call-{secrets.randbits(64)}", "name": self.tool["name"], "args": {"query": question}}
        await self.send(toolCall={"functionCalls": [call]})
        return call

    async def say(self, text: str) -> None:
        audio = await asyncio.to_thread(self.emulator.speak, text)
        words, pcm = text.split(), (np.clip(audio, -1, 1) * 32767).astype(np.int16)
        if cut_off := self.mood in (Mood.CUT_OFF, Mood.STALLED) and bool(self.log.asked):
            words, pcm = words[: len(words) // 2], pcm[: len(pcm) // 2]
        self.log.said.append(" ".join(words))
        for word in words:
            await self.send(serverContent={"outputTranscription": {"text": word + " "}})
        for start in range(0, len(pcm), OUT_RATE // 5):
            data = base64.b64encode(pcm[start : start + OUT_RATE // 5].tobytes()).decode()
            blob = {"mimeType": f"audio/pcm;rate={OUT_RATE}", "data": data}
            await self.send(serverContent={"modelTurn": {"role": "model", "parts": [{"inlineData": blob}]}})
        if self.mood is Mood.STALLED and cut_off:
            self.websocket.transport.pause_reading()
            return
        if cut_off:
            await self.websocket.close(self.emulator.close_code, INTERNAL_ERROR)
            return
        await self.send(serverContent={"generationComplete": True})
        await asyncio.sleep(len(pcm) / OUT_RATE)  # the real one waits until it believes that it was played
        await self.send(serverContent={"turnComplete": True})
        if "sessionResumption" in self.log.setup:
            update = {"newHandle": secrets.token_hex(8), "resumable": True}
            await self.send(sessionResumptionUpdate=update)
