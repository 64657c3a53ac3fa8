"""
Answer, ask back, or decline.

The cosines of one query become probabilities by a softmax over the entries and a class "none of them", as in training:
p_none ∝ exp(scale · none) beside exp(scale · cos_i) for each entry. The rest is shared out among the entries by a
second softmax, of scale · (cos_i + bonus_i): what query and entry have in common letter by letter (`faqlab.lexical`)
tells which entry is meant, but not whether any is. Two thresholds decide; `faqlab.calibration` finds all five numbers
from labelled queries.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Outcome(StrEnum):
    """What the assistant does with a question."""

    ANSWER = "answer"
    ASK_BACK = "ask_back"
    DECLINE = "decline"


def probabilities(cosines: np.ndarray, scale: float, none: float, bonus: np.ndarray | float = 0.0) -> np.ndarray:
    """
    Return the probability that each entry is the right one, and in the last column that none is.

    Args:
        cosines: Shape (queries, entries).
        scale: Of the softmax.
        none: The cosine that "none" stands for.
        bonus: Added to the cosines where entries are weighed against one another; shape (queries, entries).

    Returns:
        Shape (queries, entries + 1); rows sum to 1.
    """
    p = _softmax(scale * np.concatenate([cosines, np.full((len(cosines), 1), none)], axis=1, dtype=float))
    p[:, :-1] = p[:, :-1].sum(axis=1, keepdims=True) * _softmax(scale * (cosines + bonus))
    return p


def _softmax(logits: np.ndarray) -> np.ndarray:
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
