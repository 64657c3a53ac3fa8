"""
A call in Firefox, as a program: prints what the caller saw, as JSON. Arguments: Firefox, the FAQ, the configuration.

Firefox makes no calls to 127.0.0.1, so this runs in a separate network, in which this machine is 10.9.9.9.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import keyless, wait_until
from firefox import firefox
from pydantic import SecretStr

from faqlab.voice.demo import LiveDemo
from faqlab.voice.livekit_server import program

KEY, SECRET, ADDRESS = "key", "not-a-secret-outside-of-this-network", "10.9.9.9"
SERVER = {
    "port": 7880,
    "bind_addresses": [ADDRESS],
    "keys": {KEY: SECRET},
    "rtc": {"tcp_port": 0, "udp_port": 7882, "use_external_ip": False, "node_ip": ADDRESS, "stun_servers": []},
}


def there(name: str, then: str = "") -> str:
    return f"document.querySelector('[data-testid={name}]'){then}"


async def call(path: str, url: str) -> dict[str, object]:
    seen: dict[str, object] = {}
    async with firefox(path, **{"media.navigator.streams.fake": True}) as browser:
        await browser.open(url)
        await browser.until(there("join", " !== null"))
        await browser.run(there("check", ".click()"))
        await browser.until(there("meter", " !== null"))
        await browser.run(there("example", ".click()"))
        await browser.until(there("helpful", " !== null"))
        seen["lines"] = await browser.run(
            "[...document.querySelectorAll('[data-testid=line] p:first-of-type')].map(p => p.innerText)"
        )
        seen["played"] = await browser.run(
            "[...document.querySelectorAll('audio')].some(audio => audio.currentTime > 0)"
        )
        await browser.run(there("helpful", ".click()"))
        await browser.run(there("mute", ".click()"))
        await browser.until(there("mute", ".innerText === 'Unmute'"))
        await browser.run(there("leave", ".click()"))
        await browser.until(there("state", ".dataset.state === 'ended'"))
    return seen


def main(path: str, faqs: str, config: str) -> None:
    environment = {**os.environ, "LIVEKIT_CONFIG": json.dumps(SERVER)}
    server = subprocess.Popen([program()], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        settings = keyless().model_copy(
            update={
                "livekit_url": f"ws://{ADDRESS}:7880",
                "livekit_api_key": KEY,
                "livekit_api_secret": SecretStr(SECRET),
            }
        )
        with (
            TemporaryDirectory() as records,  # only where they are saved does the page ask whether an answer helped
            LiveDemo(faqs=faqs, config=config, settings=settings, records=records, progress=lambda line: None) as demo,
        ):
            seen = asyncio.run(call(path, demo.url))
            wait_until(lambda: [record.helpful for record in demo.calls.records] == [True])
        print(json.dumps(seen))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))
    main(*sys.argv[1:])
