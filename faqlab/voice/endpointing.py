"""Endpointing: how long a silence ends a turn, given what was said before it."""

from __future__ import annotations

import re

import numpy as np

from faqlab.voice.whisper import Transcript

SURE_S, UNSURE_S, LONGEST_S = 0.39, 0.52, 0.9
"""How long a silence ends a turn: after what is almost certainly complete, what is only just unsure, and at most."""

REJOIN_S = 1.5  # if speech resumes within this time after a transcript, the next transcript holds both parts


def wait_after(transcript: Transcript) -> float:
    """Return how long a silence after *transcript* ends the turn, in seconds."""
    missing = SURE - completeness(transcript)
    return SURE_S if missing <= 0 else min(LONGEST_S, UNSURE_S + PER_LOG_ODDS * missing)


def completeness(transcript: Transcript) -> float:
    """Return the logarithm of the odds that *transcript* is all that the speaker wants to say: logistic regression."""
    return BIAS + float(WEIGHTS @ features(transcript))


def features(transcript: Transcript) -> np.ndarray:
    """Return the probabilities of the endings in several forms, log(number of words), and 1 or 0 for `SPELLED`."""
    endings, words = np.array(transcript.endings), max(1, len(transcript.text.split()))
    logs, spelled = np.log(endings + 0.02), bool(SPELLED.search(transcript.text))
    return np.array([endings[0], endings[3], *logs, logs[0] * logs[2], np.log(words), spelled])


SPELLED = re.compile(r"(?:\d|\b[A-Za-z])\W*$")
"""A digit or a lone letter at the end: the groups of a number and the letters of a name come with pauses."""

WEIGHTS = np.array([2.71, 3.73, -2.02, -0.63, -0.79, 0.48, -0.90, 0.33, -0.92])
BIAS, SURE, PER_LOG_ODDS = -5.69, 1.08, 0.16
"""As `python -m training.endpointing` prints them."""
