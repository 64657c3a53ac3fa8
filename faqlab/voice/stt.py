"""Speech to text in a call: when somebody speaks, what they say, and when they have finished."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, APIError, LanguageCode, stt, utils
from livekit.local_inference import VAD, VAD_WINDOW_SAMPLES

from faqlab.voice.endpointing import REJOIN_S, SURE_S, wait_after
from faqlab.voice.whisper import SAMPLE_RATE, Transcript, Whisper

UNINTELLIGIBLE = "…"  # the transcript of longer speech in which Whisper recognised no word


class WhisperSTT(stt.STT):
    """
    Whisper for livekit-agents: streaming, and `wait_after` decides when a turn is over.

    Recognition starts after 0.1 s of silence. Its result goes out at once as PREFLIGHT_TRANSCRIPT, from which the
    answer is prepared, and as FINAL_TRANSCRIPT when the silence has been long enough.
    """

    def __init__(self, whisper: Whisper) -> None:
        capabilities = stt.STTCapabilities(streaming=True, interim_results=True, offline_recognize=False)
        super().__init__(capabilities=capabilities)
        self.whisper = whisper

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS, **options: Any) -> _TurnStream:
        return _TurnStream(stt=self, conn_options=conn_options, sample_rate=SAMPLE_RATE)

    async def _recognize_impl(self, *args: Any, **options: Any) -> stt.SpeechEvent:
        raise NotImplementedError("this STT only streams: use stream()")


class _TurnStream(stt.RecognizeStream):
    _stt: WhisperSTT

    async def _run(self) -> None:
        turn = Turn(self._stt.whisper, self._event_ch.send_nowait)
        windows = utils.audio.AudioByteStream(SAMPLE_RATE, 1, VAD_WINDOW_SAMPLES)
        try:
            vad = VAD()
            async for audio in self._audio(turn):
                for window in windows.push(audio):
                    samples = np.frombuffer(window.data, np.int16)
                    await turn.take(samples, vad.predict(samples))
        except Exception as error:  # livekit-agents reports no other kind, and stops transcribing
            raise APIError(f"speech recognition failed: {error}", retryable=False) from error
        finally:
            turn.cancel()

    async def _audio(self, turn: Turn) -> AsyncIterator[bytes]:
        """Yield the incoming audio; while a muted microphone sends nothing, yield silence."""
        patience = _MUTED_S
        while True:
            try:
                async with asyncio.timeout(patience if turn.time_matters else None):
                    frame, patience = await self._input_ch.recv(), _MUTED_S
            except TimeoutError:
                frame, patience = rtc.AudioFrame.create(SAMPLE_RATE, 1, VAD_WINDOW_SAMPLES), _WINDOW_S
            except utils.aio.ChanClosed:
                return
            if isinstance(frame, rtc.AudioFrame):
                yield bytes(frame.data)
            else:
                await turn.finish()  # by flush(), also at the end of the input


class Turn:
    """
    The turns of one caller, as a state machine whose clock is the audio: each window of 32 ms is one tick.

    If a transcript is needed but not ready, `take` waits for it and the next windows queue up. A slow machine therefore
    answers later, but the same audio always makes the same turns.
    """

    def __init__(self, whisper: Whisper, emit: Callable[[stt.SpeechEvent], None]) -> None:
        self._whisper, self._emit = whisper, emit
        self.speaking = False
        self._audio: list[np.ndarray] = []
        self._loud = self._quiet = self._voiced = 0  # windows: in the latest run of either kind; voiced in the turn
        self._recognition: asyncio.Task[Transcript] | None = None
        self._recognised, self._previous = list[np.ndarray](), list[np.ndarray]()
        self._since_final = math.inf
        self._pieces, self._before = 0, Transcript("")  # of a long turn, what is recognised for good

    @property
    def time_matters(self) -> bool:
        """Whether somebody is speaking, or may still continue what they said."""
        return self.speaking or self._since_final < _windows(REJOIN_S)

    async def take(self, window: np.ndarray, probability: float) -> None:
        """Take 32 ms of audio, int16, and the *probability* that it is speech."""
        self._since_final += 1
        goes_on = self.speaking and self._quiet < _RECOGNISE_AFTER
        if probability >= (_SPEECH_GOES_ON if goes_on else _SPEECH_BEGINS):
            self._loud, self._quiet, self._voiced = self._loud + 1, 0, self._voiced + 1
            self.cancel()
        else:
            self._loud, self._quiet = 0, self._quiet + 1
        self._audio.append(window)
        if not self.speaking:
            del self._audio[:-_LEAD]
            if self._loud >= _BEGIN_AFTER:
                self._begin()
        elif len(self._audio) >= _PIECE + (0 if self._quiet >= _RECOGNISE_AFTER else _NO_BREATH):
            await self._end_piece()
        elif self._quiet >= _RECOGNISE_AFTER:
            recognition = self._recognise()
            # The VAD notices the end of speech a window late. What isn't quite silence may be the beginning of more.
            silent = self._quiet + (1 if probability <= _SILENCE else -1)
            if silent >= _windows(SURE_S) and silent >= _windows(wait_after(await recognition)):
                self._end(await recognition)

    async def finish(self) -> None:
        """End the turn, if there is one, without waiting for silence."""
        if self.speaking:
            self._end(await self._recognise())

    def cancel(self) -> None:
        """Cancel the recognition that is under way, if any."""
        if self._recognition:
            self._recognition.cancel()
            self._recognition = None

    def _begin(self) -> None:
        if self.time_matters:
            self._audio = [*self._previous, *_PAUSE, *self._audio]
        else:
            self._pieces, self._before = 0, Transcript("")
        self.speaking, self._voiced = True, self._loud
        self._send(stt.SpeechEventType.START_OF_SPEECH)

    def _recognise(self) -> asyncio.Task[Transcript]:
        """Start to recognise the turn so far, unless that is under way already."""
        if self._recognition is None:
            self._recognised = self._audio.copy()
            self._recognition = asyncio.create_task(self._transcribe())
        return self._recognition

    async def _end_piece(self) -> None:
        """Recognise the turn so far for good, and go on with it unless it has no words or is too long."""
        transcript = await self._recognise()
        self._pieces += 1
        if transcript.text == UNINTELLIGIBLE or self._pieces == _MOST_PIECES:
            self._end(transcript)
            self._since_final = math.inf
        else:
            self._before, self._audio, self._recognition = transcript, self._audio[-_RECOGNISE_AFTER:], None

    async def _transcribe(self) -> Transcript:
        audio = np.concatenate(self._recognised).astype(np.float32) / 32768
        transcript = await asyncio.to_thread(self._whisper.recognise, audio)
        if self._pieces:
            last = transcript if transcript.text else self._before
            transcript = replace(last, text=f"{self._before.text} {transcript.text}".strip())
        if not transcript.text and self._voiced >= _UNINTELLIGIBLE_AFTER:
            transcript = replace(transcript, text=UNINTELLIGIBLE)
        if transcript.text:
            self._send(stt.SpeechEventType.PREFLIGHT_TRANSCRIPT, transcript)
        return transcript

    def _end(self, transcript: Transcript) -> None:
        self.speaking, self._audio, self._recognition = False, [], None
        if transcript.text:
            self._previous, self._since_final = self._recognised, 0
            self._send(stt.SpeechEventType.FINAL_TRANSCRIPT, transcript)
        self._send(stt.SpeechEventType.END_OF_SPEECH)

    def _send(self, kind: stt.SpeechEventType, *transcripts: Transcript) -> None:
        said = [stt.SpeechData(EN, of.text, confidence=math.exp(of.log_probability)) for of in transcripts]
        self._emit(stt.SpeechEvent(kind, alternatives=said))


def _windows(seconds: float) -> int:
    return round(seconds / _WINDOW_S)


EN = LanguageCode("en")
_WINDOW_S = VAD_WINDOW_SAMPLES / SAMPLE_RATE
_SPEECH_BEGINS, _SPEECH_GOES_ON = 0.5, 0.35  # probabilities, as in livekit's own use of this VAD
_SILENCE = 0.1  # in a pause, 99 of 100 windows have a lower probability, even with a fan's noise
_BEGIN_AFTER, _RECOGNISE_AFTER = 2, 3
_MUTED_S = 0.3
_LEAD, _UNINTELLIGIBLE_AFTER = _windows(0.3), _windows(0.8)
_PIECE, _NO_BREATH = _windows(24), _windows(3)  # a piece of a long turn ends at the first breath, if one comes soon
_MOST_PIECES = 3  # a radio would never fall silent
_PAUSE = [np.zeros(VAD_WINDOW_SAMPLES, np.int16)] * _windows(0.2)
