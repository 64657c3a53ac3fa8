"""A caller who follows a script: asks aloud, listens, writes down what was said and when."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from livekit import rtc
from scipy.signal import resample_poly

from faqlab.errors import FaqlabError
from faqlab.voice import ears
from faqlab.voice.direct import joining_directly
from faqlab.voice.ears import Ears
from faqlab.voice.line import CHUNK, RATE, Line, Mark
from faqlab.voice.page import LOOKUP_TOPIC
from faqlab.voice.speech import AUDIBLE, EDGE_S, Voice

_OVER_S = 0.8
_OVER_WITHOUT_STATE_S = 1.6
_CONNECT_S = 15.0
_TEXT_S = 1.0


@dataclass(frozen=True)
class Heard:
    """
    One exchange, as the caller saw it.

    Attributes:
        asked: What the caller said.
        heard_as: What the agent understood, as its transcript says: the last one, if there were several.
        answer_text: What the agent said, as its transcript says.
        answer_audio_text: The same, as Whisper hears it in the audio received.
        lookups: The agent's look-ups meanwhile, as it reported them.
        end_of_speech_to_first_audio_s: Seconds from the caller's last sound to the agent's first; None if none came.
        cut_in: Whether the agent spoke before the caller had finished.
        yielded_s: Seconds from an interruption's first sound until the agent was quiet; None if there was none.
        audio: The agent's voice, int16, from the start of the exchange.
        rate: Of `audio`, Hz.
        transcripts: All that the agent understood meanwhile, in order.
        spoke_until_s: Seconds from the start of the exchange to the caller's last sound.
    """

    asked: str
    heard_as: str
    answer_text: str
    answer_audio_text: str
    lookups: tuple[dict[str, Any], ...]
    end_of_speech_to_first_audio_s: float | None
    cut_in: bool
    yielded_s: float | None
    audio: np.ndarray = field(repr=False)
    rate: int = RATE
    transcripts: tuple[str, ...] = ()
    spoke_until_s: float = 0.0

    @classmethod
    def nothing(cls, asked: str) -> Self:
        """Return what came of a call that failed."""
        return cls(asked, "", "", "", (), None, False, None, np.zeros(0, np.int16))


class Caller:
    """
    A participant with a voice and ears. `async with Caller(url, token) as caller: await caller.ask("…")`.

    Nothing waits longer than *timeout* seconds for the agent: an answer that never comes is a `Heard` without audio.
    """

    def __init__(
        self, url: str, token: str, *, timeout: float = 20.0, voice: Voice | None = None, hearing: Ears | None = None
    ) -> None:
        self._url, self._token, self._timeout = url, token, timeout
        self._voice, self._ears = voice or Voice.shared(), hearing or Ears.shared()
        self.room = rtc.Room()
        self._line = Line()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """
        Join the room and switch the microphone on.

        Raises:
            FaqlabError: the server refused or did not answer.
        """
        self.room.on("track_subscribed", self._on_track)
        self.room.register_text_stream_handler("lk.transcription", self._on_transcription)
        self.room.register_text_stream_handler(LOOKUP_TOPIC, self._on_lookup)
        try:
            with joining_directly(self._url):
                await asyncio.wait_for(self.room.connect(self._url, self._token), _CONNECT_S)
            source = rtc.AudioSource(RATE, 1)
            microphone = rtc.LocalAudioTrack.create_audio_track("microphone", source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
            await asyncio.wait_for(self.room.local_participant.publish_track(microphone, options), _CONNECT_S)
        except (rtc.ConnectError, rtc.participant.PublishTrackError, TimeoutError) as error:
            await self.leave()
            raise FaqlabError(f"{self._url}: the caller could not join ({error or 'no answer'}).") from None
        self._start(self._line.talk(source))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Hang up; a second time does nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.room.disconnect(), _CONNECT_S)

    async def wait_for_greeting(self) -> Heard:
        """Return the agent's first words when it has spoken them."""
        return await self._exchange("", np.zeros(0, np.float32))

    async def listen(self, seconds: float) -> Heard:
        """Say nothing for so long; return what the agent did meanwhile."""
        mark = self._line.mark()
        await asyncio.sleep(seconds)
        return await self._write_down("", mark, self._line.now())

    async def ask(
        self,
        text: str,
        *,
        pause: float | None = None,
        interrupt: str | None = None,
        interrupt_after: float = 1.0,
        hang_up_after: float | None = None,
    ) -> Heard:
        """
        Say *text* and return what came of it when the agent has answered.

        Args:
            text: What to say, at once, even over the agent.
            pause: Seconds of silence in the middle, between two words; the voice's own break there is part of it.
            interrupt: What to say over the answer; the times are then of this.
            interrupt_after: Seconds into the answer at which to do so.
            hang_up_after: Seconds into the answer at which to leave.
        """
        audio = await asyncio.to_thread(self._voice.speak_all, text)
        if pause is not None:
            at = await asyncio.to_thread(self._middle, text, audio)
            audio = silent_at(audio, at, pause)
        return await self._exchange(text, audio, interrupt, interrupt_after, hang_up_after)

    async def _exchange(
        self,
        text: str,
        audio: np.ndarray,
        interrupt: str | None = None,
        interrupt_after: float = 0.0,
        hang_up_after: float | None = None,
    ) -> Heard:
        line = self._line
        over = await asyncio.to_thread(self._voice.speak_all, interrupt) if interrupt else None
        mark = line.mark()
        started, ended = await line.say(audio)
        cut_in = bool(text) and line.loud_between(started, ended)
        yielded = None
        await self._wait(lambda: line.first_sound(ended) is not None)
        if over is not None and line.first_sound(ended) is not None:
            await asyncio.sleep(interrupt_after)
            text = f"{text} {interrupt}"
            started, ended = await line.say(over)
            quiet = line.quiet_from(started)
            yielded = None if quiet is None else quiet - started
            await self._wait(lambda: line.first_sound(ended) is not None)
        if hang_up_after is not None:
            await asyncio.sleep(hang_up_after)
            await self.leave()
        else:
            await self._wait(lambda: self._is_over(ended), self._timeout + 40)
            await self._wait(lambda: not line.open_texts, _TEXT_S)
        return await self._write_down(text, mark, ended, cut_in, yielded)

    async def _write_down(
        self, text: str, mark: Mark, ended: float, cut_in: bool = False, yielded: float | None = None
    ) -> Heard:
        line = self._line
        audio = line.audio_since(mark.time)
        words = await asyncio.to_thread(self._ears.transcribe, _at_ears_rate(audio))
        first = line.first_sound(ended)
        transcripts = tuple(line.heard.since(mark.heard))
        return Heard(
            asked=text,
            heard_as=transcripts[-1] if transcripts else "",
            answer_text=" ".join(line.said.since(mark.said)),
            answer_audio_text=words,
            lookups=tuple(line.lookups[mark.lookups :]),
            end_of_speech_to_first_audio_s=None if first is None or not text else first - ended,
            cut_in=cut_in,
            yielded_s=yielded,
            audio=audio,
            transcripts=transcripts,
            spoke_until_s=ended - mark.time,
        )

    def _middle(self, text: str, audio: np.ndarray) -> int:
        """Return the sample between the two middle words of *text*: the quietest one near where they should be."""
        words = text.split()
        before = len(self._voice.speak_all(" ".join(words[: len(words) // 2])))
        after = len(self._voice.speak_all(" ".join(words[len(words) // 2 :])))
        expected, reach = int(len(audio) * before / max(1, before + after)), RATE // 7
        start = max(0, expected - reach)
        power = np.convolve(np.square(audio[start : expected + reach]), np.ones(RATE // 50), "same")
        return start + int(power.argmin()) if len(power) else expected

    def _is_over(self, ended: float) -> bool:
        line, state = self._line, self._agent_state()
        last = line.last_sound()
        if line.first_sound(ended) is None or last is None or state == "speaking":
            return False
        return line.now() - last > (_OVER_S if state else _OVER_WITHOUT_STATE_S)

    def _agent_state(self) -> str | None:
        agents = self.room.remote_participants.values()
        return next((state for a in agents if (state := a.attributes.get("lk.agent.state"))), None)

    async def _wait(self, condition: Any, timeout: float | None = None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout if timeout is None else timeout):
                while not condition() and self.room.isconnected():
                    await asyncio.sleep(0.02)

    def _on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=1000 * CHUNK // RATE)
            self._start(self._line.listen(stream))

    def _on_transcription(self, reader: rtc.TextStreamReader, identity: str) -> None:
        mine = identity == self.room.local_participant.identity
        self._start(self._line.read(reader, self._line.heard if mine else self._line.said))

    def _on_lookup(self, reader: rtc.TextStreamReader, identity: str) -> None:
        self._start(self._line.note_lookup(reader))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _at_ears_rate(audio: np.ndarray) -> np.ndarray:
    if not len(audio):
        return np.zeros(0, np.float32)
    return resample_poly(audio.astype(np.float32) / 32768, ears.SAMPLE_RATE, RATE).astype(np.float32)


def silent_at(audio: np.ndarray, at: int, seconds: float) -> np.ndarray:
    """
    Return speech that is silent for *seconds* at sample *at*, in place of what silence it has there.

    Args:
        audio: Mono, float32 from -1 to 1, at `RATE`.
        at: Where.
        seconds: From the last audible sample before *at* to the first after it.
    """
    edge, audible = int(EDGE_S * RATE), np.abs(audio) > AUDIBLE
    before, after = np.flatnonzero(audible[:at]), np.flatnonzero(audible[at:])
    last, first = (before[-1] + 1 if len(before) else 0), (at + after[0] if len(after) else len(audio))
    end, start = min(at, last + edge), max(at, first - edge)
    silence = max(0, int(seconds * RATE) - (end - last) - (first - start))
    return np.concatenate([audio[:end], np.zeros(silence, np.float32), audio[start:]])
