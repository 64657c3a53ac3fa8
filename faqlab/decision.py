"""
Answer, ask back, or decline.

The cosines of one query become probabilities by a softmax over the entries and a class "none of them", as in training:
p_i ∝ exp(scale · cos_i), p_none ∝ exp(scale · none). Two thresholds on them decide; `faqlab.calibration` finds all four
numbers from labelled queries.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Outcome(StrEnum):
    """What the assistant does with a question."""

    ANSWER = "answer"
    ASK_BACK = "ask_back"
    DECLINE = "decline"


def probabilities(cosines: np.ndarray, scale: float, none: float) -> np.ndarray:
    """
    Return the probability that each entry is the right one, and in the last column that none is.

    Args:
        cosines: Shape (queries, entries).
        scale: Of the softmax.
        none: The cosine that "none" stands for.

    Returns:
        Shape (queries, entries + 1); rows sum to 1.
    """
    logits = scale * np.concatenate([cosines, np.full((len(cosines), 1), none)], axis=1, dtype=float)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def decide(in_scope: float, first: float, decline_below: float, answer_from: float) -> Outcome:
    """
    Return what to do with a query.

    Args:
        in_scope: Probability that some entry is right.
        first: Probability that the first is.
        decline_below: Decline where *in_scope* is less.
        answer_from: Else answer where *first* is at least this, and ask back where it is less.
    """
    if in_scope < decline_below:
        return Outcome.DECLINE
    return Outcome.ANSWER if first >= answer_from else Outcome.ASK_BACK
