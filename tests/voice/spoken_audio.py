"""Audio for the STT's tests, spoken by the TTS."""

from __future__ import annotations

import numpy as np

from benchmarks.spoken import speak as say
from benchmarks.words import normalise_words
from faqlab.voice import whisper

__all__ = ["RATE", "say", "silence", "words_wrong"]

RATE = whisper.SAMPLE_RATE


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def words_wrong(said: str, transcript: str) -> float:
    """The word error rate, without punctuation and case."""
    import jiwer

    return jiwer.wer(normalise_words(said), normalise_words(transcript))
