"""The ears in a conversation: when somebody speaks, what they said, and when they have finished."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from livekit import rtc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, APIError, NotGivenOr, stt
from livekit.agents.utils import AudioBuffer, aio
from livekit.local_inference import VAD, VAD_WINDOW_SAMPLES

from faqlab.voice.ears import SAMPLE_RATE, Ears, Transcript

UNHEARD = "…"
"""The transcript of somebody who spoke for a while and was not understood."""

_BEGINS, _GOES_ON = 0.5, 0.35
"""Silero's probability of speech at which it begins, and above which it has not ended; as livekit's own VAD."""
_WINDOW_S = VAD_WINDOW_SAMPLES / SAMPLE_RATE
_WINDOWS_TO_BEGIN = 2
_WINDOWS_TO_RECOGNISE = 3
_LEAD = int(0.3 * SAMPLE_RATE)
_GAP = np.zeros(int(0.2 * SAMPLE_RATE), np.int16)
_STALLED_S = 0.3
_LONGEST = 25 * SAMPLE_RATE
"""Samples after which a turn is over, though the sound goes on: a radio's would never be."""
_UNHEARD_AFTER_S = 0.8
_OFTEN_GOES_ON = range(3, 8)
"""
How many words are whole by themselves and yet often a beginning: "How do I post these trainers back …".

Of 20,647 labelled queries one in six has so few (of those to be answered, keywords aside, one in fifteen); of 210 first
halves two in five, and more than half of those that sound whole. To wait for them cuts into one pause of 0.5 s in 20
instead of one in 9.
"""


@dataclass(frozen=True)
class Patience:
    """
    How long a silence ends a turn, in seconds since the voice was last heard.

    Whisper hears prosody, and how sure it is of the last mark tells a whole sentence from half a one. Of 210 spoken
    queries from five FAQs, and of their first halves, got: *question* 50 and 2 %, *statement* 22 and 3 %, *doubtful* 27
    and 51 %, *unfinished* 1 and 44 %. How sure retrieval is of it tells nothing more.

    Attributes:
        question: After what is surely a whole question.
        statement: After what is very likely a whole sentence.
        doubtful: After what may be whole, after what looks cut off and yet sounds like an end, after three to seven
            words, which often go on, and after keywords.
        unfinished: After what looks cut off.
        rejoin: Who goes on speaking within this time of a transcript is heard as if they had not stopped: the next
            transcript holds both halves.
    """

    question: float = 0.35
    statement: float = 0.38
    doubtful: float = 0.65
    unfinished: float = 0.9
    rejoin: float = 1.5

    def after(self, heard: Transcript) -> float:
        """Return how long to wait after *heard*."""
        if not looks_complete(heard.text):
            # Of what looks cut off, 9 in 11 whole queries sounded so much like an end, and 2 in 95 halves.
            return self.doubtful if heard.ended > 0.7 or looks_like_keywords(heard.text) else self.unfinished
        if len(heard.text.split()) in _OFTEN_GOES_ON:
            return self.doubtful
        if heard.text.endswith("?") and heard.ended > 0.8:
            return self.question
        return self.statement if heard.ended > 0.9 else self.doubtful


def looks_complete(text: str) -> bool:
    """Return whether *text*, as Whisper wrote it down, could be all that its speaker means to say."""
    if not text.endswith((".", "?", "!")) or text.endswith("..."):
        return False
    sentence = re.split(r"(?<=[.?!])\s+", text)[-1].lower().rstrip(".?!")
    words = re.findall(r"[\w']+", sentence)
    if not words:
        return False
    if words[-1] in _NEVER_LAST or (words[-1] in _LAST_IN_QUESTIONS and not text.endswith("?")):
        return False
    while len(words) > 1 and words[0] in _OPENERS:
        words.pop(0)
    # Whisper hears the rise of a question: one that fell flat, or stops at "how long", has not reached its end.
    return not (words[0] in _ASKING and (not text.endswith("?") or len(words) < 2))


def looks_like_keywords(text: str) -> bool:
    """
    Return whether *text* is two to four words as in a search box, "Return label price", and no piece of a sentence.

    Whisper sets no mark behind either. Of 150 queries of at most four words, from tune splits and other trades, 48
    looked cut off, and 43 of these are keywords by this; of the first one to four words of 150 longer ones 66 looked
    so, and one is.
    """
    words = re.findall(r"[\w']+", text.lower())
    return (
        2 <= len(words) <= 4
        and text[-1].isalnum()
        and words[-1] not in _PREPOSITIONS
        and _ONLY_IN_SENTENCES.isdisjoint(words)
        and not any("'" in word and not word.endswith("'s") for word in words)
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER_LAST = _words(
    "and or but nor the a an my your our their because if whether unless while than um uh er erm hmm as i we he they "
    "i'm i've i'd i'll we've we're we'd they've you've you're you'd it's that's there's what's every another"
)
_PREPOSITIONS = _words("of from with about to for at by into without until till per via between")
_LAST_IN_QUESTIONS = _PREPOSITIONS | _words(
    "is are was were am be do does did can could would will should may might must any some its his like what how why "
    "when where which who whose whom so"
)
_OPENERS = _words("so um uh er hi hello hey yeah yes okay ok well and oh please right sorry there then also")
_ASKING = _words(
    "how what when where why who which whose can could do does did is are was were will would should shall may am have "
    "has"
)
_ONLY_IN_SENTENCES = (_NEVER_LAST | _LAST_IN_QUESTIONS | _OPENERS | _ASKING) - _PREPOSITIONS | _words(
    "it this that these those you me us them she they who not no got get gets sent bought had want need "
    "let's he's she's how's who's where's here's"
)


class WhisperSTT(stt.STT):
    """
    `Ears` as livekit-agents wants them: streaming, with the end of the turn decided by `Patience`.

    Recognition begins after 0.1 s of silence and is over before the wait is: its result goes out at once as a
    PREFLIGHT_TRANSCRIPT, on which the answer is prepared, and as FINAL_TRANSCRIPT when the wait is over.
    """

    def __init__(self, ears: Ears, *, patience: Patience | None = None) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.ears, self.patience = ears, patience or Patience()

    @property
    def model(self) -> str:
        """The name in metrics."""
        return "tiny.en"

    @property
    def provider(self) -> str:
        """The name in metrics."""
        return "faster-whisper"

    async def _recognize_impl(
        self, buffer: AudioBuffer, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        resampler = rtc.AudioResampler(frame.sample_rate, SAMPLE_RATE, num_channels=frame.num_channels)
        frames = [*resampler.push(frame), *resampler.flush()]
        audio = np.concatenate([np.frombuffer(f.data, np.int16) for f in frames])
        return _event(stt.SpeechEventType.FINAL_TRANSCRIPT, await self._hear(audio))

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Return a stream that takes frames in real time and gives events."""
        return _ListeningStream(stt=self, conn_options=conn_options, sample_rate=SAMPLE_RATE)

    async def _hear(self, audio: np.ndarray) -> Transcript:
        return await asyncio.to_thread(self.ears.hear, audio.astype(np.float32) / 32768)


class _ListeningStream(stt.RecognizeStream):
    """One caller's turns, one after another."""

    _stt: WhisperSTT

    async def _run(self) -> None:
        turn = _Turn(self._stt, self._event_ch.send_nowait)
        pending = np.zeros(0, np.int16)
        try:
            probability = VAD().predict
            while True:
                try:
                    # A microphone that is muted sends nothing at all: that is silence, too.
                    frame = await asyncio.wait_for(self._input_ch.recv(), _STALLED_S if turn.speaking else None)
                except TimeoutError:
                    turn.silence()
                    continue
                except aio.ChanClosed:
                    break
                if not isinstance(frame, rtc.AudioFrame):
                    continue
                pending = np.concatenate([pending, np.frombuffer(frame.data, np.int16)])
                while len(pending) >= VAD_WINDOW_SAMPLES:
                    window, pending = pending[:VAD_WINDOW_SAMPLES], pending[VAD_WINDOW_SAMPLES:]
                    turn.hear(window, probability(window))
            await turn.finish()
        except Exception as error:  # after any other kind livekit-agents would never listen again
            raise APIError(f"the ears failed: {error}", retryable=False) from error
        finally:
            turn.cancel()


class _Turn:
    """What the caller is saying: from the first sound to the final transcript, and on from there."""

    def __init__(self, ears: WhisperSTT, send: Callable[[stt.SpeechEvent], None]) -> None:
        self._stt, self._send, self._clock = ears, send, asyncio.get_running_loop().time
        self.speaking = False
        self._audio: list[np.ndarray] = []
        self._lead = np.zeros(0, np.int16)
        self._loud = self._quiet = self._spoken = 0
        self._last_sound = 0.0
        self._recognition: asyncio.Task[None] | None = None
        self._previous: tuple[float, np.ndarray] = (-math.inf, np.zeros(0, np.int16))

    def hear(self, window: np.ndarray, probability: float) -> None:
        """Take 32 ms of sound that is speech with this *probability*."""
        if self.speaking and len(self._audio) * VAD_WINDOW_SAMPLES >= _LONGEST:
            self.silence()  # which nothing takes back any more
            return
        fading = self.speaking and self._quiet < _WINDOWS_TO_RECOGNISE
        loud = probability >= (_GOES_ON if fading else _BEGINS)
        self._loud, self._quiet = (self._loud + 1, 0) if loud else (0, self._quiet + 1)
        if self.speaking:
            self._audio.append(window)
        else:
            self._lead = np.concatenate([self._lead, window])[-_LEAD:]
            if self._loud >= _WINDOWS_TO_BEGIN:
                self._begin()
        if loud:
            self._last_sound = self._clock()
            self._spoken += 1
            self.cancel()
        elif self.speaking and self._quiet >= _WINDOWS_TO_RECOGNISE:
            self.silence()

    def silence(self) -> None:
        """Begin to recognise what was said, unless that is under way."""
        if self._recognition is None:
            self._recognition = asyncio.create_task(self._recognise())
        elif self._recognition.done():
            self._recognition.result()

    async def finish(self) -> None:
        """Wait for the transcript of what was said when no more sound will come."""
        if self.speaking:
            self.silence()
        if self._recognition:
            await self._recognition

    def cancel(self) -> None:
        """Forget the recognition under way: the caller goes on."""
        if self._recognition:
            self._recognition.cancel()
            self._recognition = None

    def _begin(self) -> None:
        self.speaking, self._spoken, self._audio = True, self._loud, [self._lead]
        self._lead = np.zeros(0, np.int16)
        ended, before = self._previous
        if self._clock() - ended < self._stt.patience.rejoin and len(before) < _LONGEST:
            self._audio = [before, _GAP, *self._audio]
        self._send(stt.SpeechEvent(stt.SpeechEventType.START_OF_SPEECH))

    async def _recognise(self) -> None:
        audio = np.concatenate(self._audio)
        heard = await self._stt._hear(audio)
        if not heard.text and self._spoken * _WINDOW_S >= _UNHEARD_AFTER_S:
            heard = replace(heard, text=UNHEARD)
        if heard.text:
            self._send(_event(stt.SpeechEventType.PREFLIGHT_TRANSCRIPT, heard))
        await asyncio.sleep(self._last_sound + self._stt.patience.after(heard) - self._clock())
        # From here on nothing waits: the turn is over as a whole or not at all.
        self.speaking, self._recognition = False, None
        if heard.text:
            self._previous = (self._clock(), audio)
            self._send(_event(stt.SpeechEventType.FINAL_TRANSCRIPT, heard))
        self._send(stt.SpeechEvent(stt.SpeechEventType.END_OF_SPEECH))


def _event(kind: stt.SpeechEventType, heard: Transcript) -> stt.SpeechEvent:
    confidence = math.exp(min(0.0, heard.log_probability))
    return stt.SpeechEvent(kind, alternatives=[stt.SpeechData("en", heard.text, confidence=confidence)])  # type: ignore[arg-type]
