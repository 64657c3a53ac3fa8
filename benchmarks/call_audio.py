"""The audio of a scripted caller: what it sends and receives, with times, and measurements on recordings."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import numpy as np
from livekit import rtc

from faqlab.voice import tts
from faqlab.voice.whisper import Whisper

RATE = tts.SAMPLE_RATE
"""Hz, of what the caller sends and receives."""

FRAME = RATE // 100
"""Samples in 10 ms, the shortest stretch whose loudness is measured."""

CHUNK = 5 * FRAME
"""
Samples sent and received at once: 50 ms. LiveKit's SDK wakes every call of the process for each chunk; with 10 ms, four
simultaneous callers delayed each other on two cores.
"""

LOUD = 0.006 * 32768
"""A frame of int16 samples with a higher root mean square counts as speech."""

GAP_S = 0.2
"""A longer silence separates two utterances."""

_CHUNK_S = CHUNK / RATE
_SEND_TIMEOUT_S = 15.0


class CallAudio:
    """Both directions of one call. All times are seconds of `time.perf_counter`."""

    def __init__(self) -> None:
        self._outgoing: deque[tuple[np.ndarray, asyncio.Future[tuple[float, float]] | None]] = deque()
        self._began = 0.0
        self._frames: list[tuple[float, bool, np.ndarray]] = []

    async def speak(self, audio: np.ndarray) -> tuple[float, float]:
        """Send *audio* (float32, -1 to 1); return the times of its first and last samples once they are sent."""
        if not len(audio):
            return time.perf_counter(), time.perf_counter()
        samples = tts.to_int16(np.pad(audio, (0, -len(audio) % CHUNK)))
        *chunks, last = samples.reshape(-1, CHUNK)
        sent: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()
        self._began = 0.0
        self._outgoing.extend((chunk, None) for chunk in chunks)
        self._outgoing.append((last, sent))
        began, ended = await asyncio.wait_for(sent, len(audio) / RATE + _SEND_TIMEOUT_S)
        ended -= (len(samples) - len(audio)) / RATE
        await asyncio.sleep(
            ended + _CHUNK_S - time.perf_counter()
        )  # until everything received by then has arrived here
        return began, ended

    async def send(self, source: rtc.AudioSource) -> None:
        """Send a chunk every 50 ms until cancelled: the next of what is to be spoken, or silence."""
        silence, due = np.zeros(CHUNK, np.int16), 0.0
        while True:
            chunk, sent = self._outgoing.popleft() if self._outgoing else (silence, None)
            due = max(due, time.perf_counter())  # later than planned if this loop was held up
            if chunk is not silence and not self._began:
                self._began = due
            await source.capture_frame(rtc.AudioFrame(chunk.tobytes(), RATE, 1, CHUNK))
            due += _CHUNK_S
            if sent and not sent.done():
                sent.set_result((self._began, due))
            await asyncio.sleep(due - _CHUNK_S - time.perf_counter())  # one chunk ahead, so that a delay leaves no gap

    async def receive(self, stream: rtc.AudioStream) -> None:
        """Keep the frames of *stream*, each with the time at which it arrived, until it ends."""
        try:
            async for event in stream:
                now = time.perf_counter()
                frames = np.frombuffer(event.frame.data, np.int16).copy().reshape(-1, FRAME)
                times = now - np.arange(len(frames) - 1, -1, -1) * FRAME / RATE
                self._frames += zip(times.tolist(), _loud(frames).tolist(), frames, strict=True)
        finally:
            await stream.aclose()

    def forget(self) -> None:
        """Drop what was received before, except the moment that shows whether the agent is speaking right now."""
        self._frames = self._frames[-int(GAP_S * 100) :]

    def first_sound(self, after: float) -> float | None:
        """Return when the agent began to speak *after* this time; an utterance already under way doesn't count."""
        last_loud = None
        for at, loud, _ in self._frames:
            if loud:
                if at >= after and (last_loud is None or at - last_loud > GAP_S):
                    return at
                last_loud = at
        return None

    def silent_from(self, start: float) -> float | None:
        """Return when the agent, speaking at *start*, fell silent; None if it hasn't."""
        last = next((at for at, loud, _ in self._frames if loud and at >= start), None)
        for at, loud, _ in self._frames:
            if last is not None and at > last:
                if at - last > GAP_S:
                    return last
                last = at if loud else last
        return None

    def last_sound(self) -> float | None:
        """Return when the agent was last audible."""
        return next((at for at, loud, _ in reversed(self._frames) if loud), None)

    def received_since(self, start: float) -> np.ndarray:
        """Return what was received since *start*, int16."""
        parts = [samples for at, _, samples in self._frames if at >= start]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def utterances(audio: np.ndarray) -> list[tuple[float, float]]:
    """Return the start and end, in seconds, of each utterance in *audio* (int16 at `RATE`)."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    loud = np.flatnonzero(_loud(frames))
    if not len(loud):
        return []
    stretches = np.split(loud, np.flatnonzero(np.diff(loud) > GAP_S * 100) + 1)
    return [(int(stretch[0]) / 100, int(stretch[-1] + 1) / 100) for stretch in stretches]


def with_pause(speech: np.ndarray, at: int, seconds: float) -> np.ndarray:
    """
    Return *speech* (float32, -1 to 1) with a silence at sample *at*.

    The silence lasts *seconds* from the last audible sample before *at* to the first one after it, whatever silence was
    there before.
    """
    edge, audible = int(tts.EDGE_S * RATE), np.abs(speech) > tts.AUDIBLE
    before, after = np.flatnonzero(audible[:at]), np.flatnonzero(audible[at:])
    last, first = (before[-1] + 1 if len(before) else 0), (at + after[0] if len(after) else len(speech))
    end, start = min(at, last + edge), max(at, first - edge)
    silence = max(0, int(seconds * RATE) - (end - last) - (first - start))
    return np.concatenate([speech[:end], np.zeros(silence, np.float32), speech[start:]])


def pieces(audio: np.ndarray, rate: int) -> list[np.ndarray]:
    """Cut *audio* that is too long for Whisper's window at its quietest moments."""
    cut_off, longest, block = list[np.ndarray](), 27 * rate, rate // 10
    while len(audio) > longest:
        blocks = audio[longest // 2 : longest // block * block].reshape(-1, block)
        cut = longest // 2 + int(np.square(blocks).sum(axis=1).argmin()) * block + block // 2
        cut_off.append(audio[:cut])
        audio = audio[cut:]
    return [*cut_off, audio]


def _loud(frames: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(frames.astype(np.float32)), axis=1)) > LOUD


def transcribe(audio: np.ndarray) -> str:
    """Return the words in *audio*, as `Whisper.recognise` takes it."""
    return Whisper.shared().recognise(audio).text
