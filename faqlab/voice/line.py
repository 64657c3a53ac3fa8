"""A scripted caller's end of the line: what goes out of the microphone and comes in from the agent, with times."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import rtc

from faqlab.voice.speech import SAMPLE_RATE, to_int16

RATE = SAMPLE_RATE
"""Hz of what the caller says and hears."""

FRAME = RATE // 100
"""Samples of 10 ms: what is judged by its loudness at once."""

CHUNK = 5 * FRAME
"""
Samples that are sent, and received, at once: 50 ms. LiveKit's SDK wakes every call in the process for each chunk sent,
so that with chunks of 10 ms four callers at once on two cores kept each other from being heard.
"""

_CHUNK_S = CHUNK / RATE

AUDIBLE = 0.006 * 32768
"""The root mean square of a frame, int16, above which somebody speaks."""

_PATIENCE_S = 15.0
QUIET_S = 0.2
"""A silence this long parts two utterances of the agent."""


@dataclass(frozen=True)
class Mark:
    """Where the records of an exchange begin."""

    time: float
    heard: int
    said: int
    lookups: int


class Texts:
    """Transcripts by segment, in order; a later version of a segment replaces the earlier."""

    def __init__(self) -> None:
        self._segments: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._segments)

    def put(self, segment: str, text: str) -> None:
        """Write a segment down."""
        self._segments[segment] = text

    def since(self, count: int) -> list[str]:
        """Return all but the first *count* segments that hold words."""
        return [text.strip() for text in list(self._segments.values())[count:] if text.strip()]


class Line:
    """What goes out of the microphone and comes in from the agent, with times."""

    def __init__(self) -> None:
        self.heard, self.said = Texts(), Texts()
        self.lookups: list[dict[str, Any]] = []
        self.open_texts = 0
        self._outgoing: deque[tuple[np.ndarray, asyncio.Future[tuple[float, float]] | None]] = deque()
        self._began = 0.0
        self._frames: list[tuple[float, bool, np.ndarray]] = []

    def now(self) -> float:
        """Return the time that all else here is measured in, seconds."""
        return time.perf_counter()

    def mark(self) -> Mark:
        """Begin an exchange; the sound of earlier ones is let go."""
        self._frames = self._frames[-int(QUIET_S * 100) :]
        return Mark(self.now(), len(self.heard), len(self.said), len(self.lookups))

    async def say(self, audio: np.ndarray) -> tuple[float, float]:
        """Send *audio*, return when its first and last samples went, once they have."""
        if not len(audio):
            return self.now(), self.now()
        samples = to_int16(np.pad(audio, (0, -len(audio) % CHUNK)))
        *chunks, last = samples.reshape(-1, CHUNK)
        sent: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()
        self._began = 0.0
        self._outgoing.extend((chunk, None) for chunk in chunks)
        self._outgoing.append((last, sent))
        began, ended = await asyncio.wait_for(sent, len(audio) / RATE + _PATIENCE_S)
        ended -= (len(samples) - len(audio)) / RATE
        await asyncio.sleep(ended + _CHUNK_S - self.now())  # until all that came in meanwhile is here, too
        return began, ended

    async def talk(self, source: rtc.AudioSource) -> None:
        """Send chunk after chunk: the next of what is to be said, else silence."""
        silence, due = np.zeros(CHUNK, np.int16), 0.0
        while True:
            chunk, sent = self._outgoing.popleft() if self._outgoing else (silence, None)
            due = max(due, self.now())  # later than it was to be, if the line ran dry
            if chunk is not silence and not self._began:
                self._began = due
            await source.capture_frame(rtc.AudioFrame(chunk.tobytes(), RATE, 1, CHUNK))
            due += _CHUNK_S
            if sent and not sent.done():
                sent.set_result((self._began, due))
            await asyncio.sleep(due - _CHUNK_S - self.now())  # one ahead, so that there is no gap if the next is late

    async def listen(self, stream: rtc.AudioStream) -> None:
        """Keep what comes in, each frame of a chunk with the time at which it was there and whether it can be heard."""
        try:
            async for event in stream:
                now = self.now()
                frames = np.frombuffer(event.frame.data, np.int16).copy().reshape(-1, FRAME)
                loud = np.sqrt(np.mean(np.square(frames.astype(np.float32)), axis=1)) > AUDIBLE
                times = now - np.arange(len(frames) - 1, -1, -1) * FRAME / RATE
                self._frames += zip(times.tolist(), loud.tolist(), frames, strict=True)
        finally:
            await stream.aclose()

    async def read(self, reader: rtc.TextStreamReader, texts: Texts) -> None:
        """Follow one transcript as it is written."""
        segment, text = str((reader.info.attributes or {}).get("lk.segment_id", reader.info.stream_id)), ""
        self.open_texts += 1
        try:
            with suppress(rtc.StreamError):  # the line went dead meanwhile
                async for chunk in reader:
                    text += chunk
                    texts.put(segment, text)
        finally:
            self.open_texts -= 1

    async def note_lookup(self, reader: rtc.TextStreamReader) -> None:
        """Keep the agent's report of one look-up."""
        with suppress(rtc.StreamError):  # as above
            self.lookups.append(json.loads(await reader.read_all()))

    def loud_between(self, start: float, end: float) -> bool:
        """Whether the agent began to speak in this time, having been quiet before."""
        first = self.first_sound(start)
        return first is not None and first < end

    def first_sound(self, after: float) -> float | None:
        """Return when the agent began to speak *after* this time; what it was saying already does not count."""
        last_loud = None
        for at, loud, _ in self._frames:
            if loud:
                if at >= after and (last_loud is None or at - last_loud > QUIET_S):
                    return at
                last_loud = at
        return None

    def quiet_from(self, start: float) -> float | None:
        """Return when the agent, speaking at *start*, fell silent; None if it has not."""
        last = next((at for at, loud, _ in self._frames if loud and at >= start), None)
        for at, loud, _ in self._frames:
            if last is not None and at > last:
                if at - last > QUIET_S:
                    return last
                last = at if loud else last
        return None

    def last_sound(self) -> float | None:
        """Return when the agent could last be heard."""
        return next((at for at, loud, _ in reversed(self._frames) if loud), None)

    def audio_since(self, start: float) -> np.ndarray:
        """Return what came in since *start*, int16."""
        parts = [samples for at, _, samples in self._frames if at >= start]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)
