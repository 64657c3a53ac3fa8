"""Audio for the STT's tests, spoken by the TTS."""

from __future__ import annotations

import numpy as np
from scipy.signal import resample_poly

from benchmarks.words import normalise_words
from faqlab.voice import tts, whisper
from faqlab.voice.tts import Synthesizer

RATE = whisper.SAMPLE_RATE


def say(text: str) -> np.ndarray:
    """*text* as Whisper wants it: float32, 16 kHz."""
    return resample_poly(Synthesizer.shared().speak_all(text), RATE, tts.SAMPLE_RATE).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def words_wrong(said: str, transcript: str) -> float:
    """The word error rate, without punctuation and case."""
    import jiwer

    return jiwer.wer(normalise_words(said), normalise_words(transcript))
