"""The Firefox on this machine, driven by WebDriver BiDi, which Playwright's Firefox protocol isn't."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

LISTENS = "WebDriver BiDi listening on "
PREFERENCES: dict[str, bool | int] = {
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "browser.aboutwelcome.enabled": False,
}


class Firefox:
    """One window of a running Firefox."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids, self._window = socket, count(), ""

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a BiDi command, or raise RuntimeError with what Firefox says."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while (answer := await self._socket.receive_json()).get("id") != number:
            pass
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return dict(answer["result"])

    async def open(self, url: str) -> None:
        await self.command("session.new", capabilities={})
        self._window = (await self.command("browsingContext.getTree"))["contexts"][0]["context"]
        await self.command("browsingContext.navigate", context=self._window, url=url, wait="complete")

    async def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, by way of JSON."""
        result = await self.command(
            "script.evaluate",
            expression=f"Promise.resolve({script}).then(JSON.stringify)",
            target={"context": self._window},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] == "exception":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"].get("value", "null"))

    async def until(self, script: str) -> None:
        """Wait until a JavaScript expression is true."""
        while not await self.run(script):
            await asyncio.sleep(0.1)


@asynccontextmanager
async def firefox(path: str, **preferences: bool | int) -> AsyncIterator[Firefox]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        chosen = {**PREFERENCES, **preferences}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in chosen.items()]
        Path(profile, "user.js").write_text("\n".join(lines))
        command = [path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            assert process.stderr
            while LISTENS not in (line := (await process.stderr.readline()).decode()):
                assert line, "Firefox ended"
            reading = asyncio.create_task(process.stderr.read())  # so that it never waits for us
            url = line.split(LISTENS)[1].strip() + "/session"
            async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
                yield Firefox(socket)
            reading.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
