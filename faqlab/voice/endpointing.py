"""Endpointing: how long a silence ends a turn, given what was said before it."""

import re

import numpy as np
from numpy.typing import ArrayLike

from faqlab.voice.whisper import Transcript

SURE_S, UNSURE_S, LONGEST_S = 0.39, 0.51, 0.9
"""How long a silence ends a turn: after what is almost certainly complete, what is only just unsure, and at most."""

REJOIN_S = 1.5  # if speech resumes within this time after a transcript, the next transcript holds both parts

WEIGHTS, BIAS = np.array([1.24, -1.11, -0.16, 0.64, 0.43, -0.92]), -2.19
SURE, PER_LOG_ODDS = 1.06, 0.13
"""As `python -m training.endpointing` prints them."""


def wait_after(transcript: Transcript) -> float:
    """Return how long a silence after *transcript* ends the turn, in seconds."""
    return float(waits(completeness(transcript)))


def completeness(transcript: Transcript) -> float:
    """Return the logarithm of the odds that *transcript* is all that the speaker wants to say: logistic regression."""
    return BIAS + float(WEIGHTS @ features(transcript))


def waits(log_odds: ArrayLike, sure: ArrayLike = SURE, per: float = PER_LOG_ODDS) -> np.ndarray:
    """Return the waits, in seconds, for such `completeness`; *sure* and *per* replace `SURE` and `PER_LOG_ODDS`."""
    missing = np.asarray(sure) - np.asarray(log_odds)
    return np.where(missing <= 0, SURE_S, np.minimum(LONGEST_S, UNSURE_S + per * missing))


def features(transcript: Transcript) -> np.ndarray:
    """Return the logarithms of the probability of each ending and of the number of words; and 1 or 0 for `SPELLED`."""
    words, spelled = len(transcript.text.split()), bool(SPELLED.search(transcript.text))
    return np.array([*np.log(np.array(transcript.endings) + 0.02), np.log(max(1, words)), spelled])


SPELLED = re.compile(r"(?:\d|\b[A-Za-z])\W*$")
"""A digit or a lone letter at the end: the groups of a number and the letters of a name come with pauses."""
