"""Endpointing: how long a silence ends a turn, given what was said before it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from faqlab.voice.whisper import Transcript


@dataclass(frozen=True)
class EndpointingDelays:
    """How long a silence ends a turn, in seconds: the longer, the less complete the transcript is."""

    sure: float = 0.36  # after what is almost certainly complete; by then the transcript must be ready
    unsure: float = 0.52  # after what is only just unsure
    longest: float = 0.9
    rejoin: float = 1.5  # if speech resumes within this time after a transcript, the next transcript holds both parts

    def after(self, transcript: Transcript) -> float:
        """Return how long a silence after *transcript* ends the turn."""
        missing = SURE - completeness(transcript)
        return self.sure if missing <= 0 else min(self.longest, self.unsure + PER_LOG_ODDS * missing)


def completeness(transcript: Transcript) -> float:
    """Return the logarithm of the odds that *transcript* is all that the speaker wants to say: logistic regression."""
    return BIAS + float(WEIGHTS @ features(transcript))


def features(transcript: Transcript) -> np.ndarray:
    """Return the logarithms of the probability of each ending and of the number of words; and 1 or 0 for `SPELLED`."""
    words, spelled = len(transcript.text.split()), bool(SPELLED.search(transcript.text))
    return np.array([*np.log(np.array(transcript.endings) + 0.02), np.log(max(1, words)), spelled])


SPELLED = re.compile(r"(?:\d|\b[A-Za-z])\W*$")
"""A digit or a lone letter at the end: the groups of a number and the letters of a name come with pauses."""

WEIGHTS, BIAS = np.array([1.37, -0.69, -0.40, 0.70, 0.31, -0.93]), -1.36
SURE, PER_LOG_ODDS = 0.98, 0.15
"""As `python -m training.endpointing` prints them."""
