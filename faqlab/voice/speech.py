"""Text to speech without a network: the hibari voice, and texts made fit for the ear."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np
from hibari import Hibari
from hibari.voices import voice_path
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, APIError, tts, utils

from faqlab.voice.weights import check_weights, loaded_once

SAMPLE_RATE = 24_000
"""Hz of the voice."""

MODEL_SHA256 = "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8"
"""`hibari.onnx` of hibari-tts 0.2.1: the voice "heart"."""

AUDIBLE = 0.01
"""The amplitude, of 1, above which a sample of the voice is no silence."""
EDGE_S = 0.02
"""Of silence kept before and after what is audible: it keeps soft sounds whole."""
_GAP_S = 0.3
_KEPT_SENTENCES = 64


class Voice:
    """hibari's packaged voice, "heart". May be called from several threads at once."""

    def __init__(self, weights: Path | None = None) -> None:
        """
        Load the weights from the package, or from the file *weights*.

        Raises:
            FaqlabError: the weights are missing or are not the ones that were tested.
        """
        weights = weights or Path(voice_path("heart"))
        check_weights(weights, MODEL_SHA256, "hibari-tts==0.2.1")
        self._hibari = Hibari("heart", model=str(weights))
        self._kept: OrderedDict[tuple[str, float], np.ndarray] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def shared(cls) -> Self:
        """Return the process's voice, loaded at the first call."""
        return loaded_once(cls)

    def sentences(self, text: str) -> list[str]:
        """Return *text* in sentences, as the voice wants them one by one."""
        return self._hibari.split_sentences(text)

    def speak(self, sentence: str, speed: float = 1.0) -> np.ndarray:
        """
        Return *sentence* aloud: mono float32 from -1 to 1, 24 kHz, without silence before and after it.

        The latest sentences are kept, so that one spoken ahead of its turn costs nothing when that comes.

        Args:
            sentence: Any text; of one without a word, nothing is left.
            speed: 1.0 is the voice's own pace, 0.5 slow, 2.0 fast.
        """
        if not any(c.isalnum() for c in sentence):
            return np.zeros(0, np.float32)
        key = (sentence, speed)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        audio = _trimmed(self._hibari(for_the_ear(sentence), speed=speed, seed=0))
        with self._lock:
            self._kept[key] = audio
            while len(self._kept) > _KEPT_SENTENCES:
                self._kept.popitem(last=False)
        return audio

    def speak_all(self, text: str, speed: float = 1.0) -> np.ndarray:
        """Return all sentences of *text* aloud with a breath between them; as `speak`."""
        gap = np.zeros(int(_GAP_S * SAMPLE_RATE), np.float32)
        parts = [part for sentence in self.sentences(text) for part in (gap, self.speak(sentence, speed))]
        return np.concatenate(parts[1:]) if parts else np.zeros(0, np.float32)


class HibariTTS(tts.TTS):
    """`Voice` as livekit-agents wants it: streaming, a sentence at a time."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=True), sample_rate=SAMPLE_RATE, num_channels=1)
        self.voice = voice

    @property
    def model(self) -> str:
        """The name in metrics."""
        return "heart"

    @property
    def provider(self) -> str:
        """The name in metrics."""
        return "hibari"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Return *text* aloud."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> tts.SynthesizeStream:
        """Return a stream that takes text and gives audio."""
        return _SpeechStream(tts=self, conn_options=conn_options)


class _SpeechStream(tts.SynthesizeStream):
    """Speaks each sentence as soon as it is whole; closing it loses at most the sentence under way."""

    _tts: HibariTTS

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        output_emitter.start_segment(segment_id=utils.shortuuid())
        try:
            await self._speak(output_emitter)
        except Exception as error:  # livekit-agents tells nobody of any other kind
            raise APIError(f"the voice failed: {error}", retryable=False) from error
        # livekit-agents takes an answer without a sample for a failure and tries it three times more.
        output_emitter.push(bytes(2 * SAMPLE_RATE // 100))

    async def _speak(self, output_emitter: tts.AudioEmitter) -> None:
        voice, waiting, first = self._tts.voice, "", True
        async for data in self._input_ch:
            flush = not isinstance(data, str)
            waiting += data if isinstance(data, str) else ""
            sentences = voice.sentences(waiting)
            # The last may go on, unless the text is over; its trailing space parts it from what follows.
            waiting = "" if flush or not sentences else sentences.pop() + waiting[len(waiting.rstrip()) :]
            for sentence in sentences:
                self._mark_started()
                audio = await asyncio.to_thread(voice.speak, sentence)
                if not first:
                    audio = np.concatenate([np.zeros(int(_GAP_S * SAMPLE_RATE), np.float32), audio])
                output_emitter.push(to_int16(audio).tobytes())
                first = False


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Return float audio (-1 to 1) as 16-bit samples."""
    return (np.clip(audio, -1, 1) * 32767).astype(np.int16)


def _trimmed(audio: np.ndarray) -> np.ndarray:
    """Cut hibari's silence (310 ms before, 500 ms after), but for `EDGE_S`."""
    audible = np.flatnonzero(np.abs(audio) > AUDIBLE)
    if not len(audible):
        return np.zeros(0, np.float32)
    edge = int(EDGE_S * SAMPLE_RATE)
    return audio[max(0, audible[0] - edge) : audible[-1] + edge]


def for_the_ear(text: str) -> str:
    """
    Return *text* with what hibari misreads written out; it reads amounts, dates, units and "2–3 days" well itself.

    "help@shop.co.uk" becomes "help at shop dot co dot U K", "9am–5pm" "9 A.M. to 5 P.M.", "0800 123 4567" its digits.
    """
    for pattern, reading in _READINGS:
        text = pattern.sub(reading, text)
    return " ".join(text.split())


_Reading = str | Callable[[re.Match[str]], str]
_DAYS = {day[:3]: day for day in ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]}
_DAY = "|".join(_DAYS)
_SHORT = {
    "e.g.": "for example",
    "i.e.": "that is",
    "incl.": "including",
    "excl.": "excluding",
    "max.": "maximum",
    "min.": "minimum",
    "w/o": "without",
    "w/": "with ",
    "24/7": "twenty-four seven",
    "FAQs": "F A Qs",
    "VAT": "V A T",
    "→": ", then",
}
_ENDINGS = {"uk": "U K", "eu": "E U", "io": "I O", "ai": "A I", "us": "U S", "de": "D E"}


def _address(match: re.Match[str]) -> str:
    bare = re.sub(r"^(?:https?://)?(?:www\.)?", "", match[0], flags=re.I).rstrip("/")
    bare = re.sub(r"\.(\w\w)(?=/|$)", lambda m: "." + _ENDINGS.get(m[1].lower(), m[1]), bare)
    marks = {".": " dot ", "/": " slash ", "@": " at ", "-": " dash ", "_": " underscore ", "?": " "}
    return re.sub(r"[./@_?-]", lambda m: marks[m[0]], bare)


def _digits(match: re.Match[str]) -> str:
    return ", ".join(" ".join(group) for group in re.findall(r"\d+", match[0]))


_READINGS: tuple[tuple[re.Pattern[str], _Reading], ...] = (
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"[*_`#]{2,}|(?:^|\n)\s*[-*•]\s+"), " "),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), _address),
    (re.compile(r"(?:https?://|www\.)[\w./?=&%-]*[\w/]", re.I), _address),
    (re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|uk|eu|io|shop|example)\b(?:/[\w/-]+)?", re.I), _address),
    (re.compile(r"(?<![\w.])(?:" + "|".join(map(re.escape, _SHORT)) + r")(?!\w)"), lambda m: _SHORT[m[0]]),
    (re.compile(rf"\b({_DAY})[a-z]*\s?[–-]\s?({_DAY})[a-z]*"), lambda m: f"{_DAYS[m[1]]} to {_DAYS[m[2]]}"),
    (
        re.compile(r"(\d)\s?([ap])\.?m\.?(?=\W|$)(\s?[–-]\s?(?=\d))?", re.I),
        lambda m: f"{m[1]} {m[2].upper()}.M." + (" to " if m[3] else ""),
    ),
    (re.compile(r"([$£€])(\d[\d,.]*)\s?[–-]\s?[$£€]?(?=\d)"), r"\1\2 to \1"),
    (re.compile(r"(\d)\s?[–-]\s?(?=\d+(?:\.\d+)?%)"), r"\1 to "),
    (re.compile(r"(?<![\w£$€.,])\+?(?:\d{1,5}[ -])(?:\(?\d{2,4}\)?[ -])+\d{3,4}(?![\w%])"), _digits),
    (re.compile(r"(?<![\w£$€.,])\d{5,}(?![\w,%])"), _digits),
)
