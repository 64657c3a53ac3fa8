"""The caller's clock: when its own speech began and ended, and when a sound came in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faqlab.voice.line import CHUNK, FRAME, RATE, Line


class Source:
    """A microphone that keeps what is sent, and when."""

    def __init__(self, line: Line) -> None:
        self.line, self.sent = line, list[tuple[float, np.ndarray]]()

    async def capture_frame(self, frame: Any) -> None:
        self.sent.append((self.line.now(), np.frombuffer(frame.data, np.int16)))


class Stream:
    """What comes in: a chunk each time one is due, silent but for the given frames."""

    def __init__(self, line: Line, chunks: int, loud: set[int]) -> None:
        self.line, self.chunks, self.loud, self.arrived = line, chunks, loud, list[float]()

    async def __aiter__(self) -> Any:
        for chunk in range(self.chunks):
            frames = [np.full(FRAME, 9000 * (chunk * CHUNK // FRAME + n in self.loud)) for n in range(CHUNK // FRAME)]
            await asyncio.sleep(CHUNK / RATE)
            self.arrived.append(self.line.now())
            yield SimpleNamespace(frame=SimpleNamespace(data=np.concatenate(frames).astype(np.int16)))

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("seconds", [0.5, 0.517, 0.03])
async def test_speech_takes_as_long_as_it_is_and_ends_where_it_ends(seconds: float) -> None:
    line, samples = Line(), int(seconds * RATE)
    source = Source(line)
    talking = asyncio.create_task(line.talk(source))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    started, ended = await line.say(np.full(samples, 0.5, np.float32))
    now = line.now()
    talking.cancel()
    assert ended - started == pytest.approx(samples / RATE, abs=1e-6)
    assert ended < now < ended + 1
    spoken = [(at, chunk) for at, chunk in source.sent if chunk.any()]
    assert np.count_nonzero(np.concatenate([chunk for _, chunk in spoken])) == samples
    # Sent one chunk ahead: what is heard of it then begins when it is due, not when it was handed over.
    assert 0 <= started - spoken[0][0] <= 1.5 * CHUNK / RATE


async def test_a_sound_is_heard_at_the_frame_in_which_it_came() -> None:
    line = Line()
    stream = Stream(line, chunks=4, loud={7, 8})
    await line.listen(stream)  # type: ignore[arg-type]
    second = stream.arrived[1]
    heard = line.first_sound(second - CHUNK / RATE)
    assert heard == pytest.approx(second - 2 * FRAME / RATE, abs=0.015)
