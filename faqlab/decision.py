"""
Answer, clarify or decline.

The cosines of one query become probabilities by a softmax over the entries and a class "none of them", as in training:
p_none ∝ exp(scale · null_cosine) and p_i ∝ exp(scale · cos_i) for each entry. A second softmax, of scale · (cos_i +
bonus_i), then shares 1 − p_none among the entries: the overlap in character n-grams (`faqlab.ngrams`) shows which entry
is meant, but not whether the FAQ has the answer. Two thresholds decide. `faqlab.calibration` finds all five numbers
(scale, null_cosine, the n-grams' weight and the thresholds) from labelled queries.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Outcome(StrEnum):
    """What the assistant does with a question."""

    ANSWER = "answer"
    CLARIFY = "clarify"
    DECLINE = "decline"


class Reason(StrEnum):
    """Why it does that."""

    UNCALIBRATED = "uncalibrated"  # answer: no threshold is configured, so everything is answered
    CONFIDENT = "confident"  # answer: the first entry is probable enough
    CHOSEN = "chosen"  # answer: the caller picked one of the offered entries
    AMBIGUOUS = "ambiguous"  # clarify: the FAQ probably has the answer, but the first entry isn't probable enough
    NO_CHOICE = "no_choice"  # clarify: the caller picked none of the choices, so the question is repeated
    BELOW_THRESHOLD = "below_threshold"  # decline: the FAQ probably doesn't have the answer
    NO_WORDS = "no_words"  # decline: there is no letter or digit in the query
    REJECTED = "rejected"  # decline: the caller turned down everything that was offered


def probabilities(cosines: np.ndarray, scale: float, null_cosine: float, bonus: np.ndarray | float = 0.0) -> np.ndarray:
    """
    Return the probability that each entry is the right one, and in the last column that none is.

    *cosines* and *bonus* have the shape (queries, entries), the result has (queries, entries + 1); its rows sum to 1.
    """
    p = _softmax(scale * np.concatenate([cosines, np.full((len(cosines), 1), null_cosine)], axis=1, dtype=float))
    p[:, :-1] = p[:, :-1].sum(axis=1, keepdims=True) * _softmax(scale * (cosines + bonus))
    return p


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def decide(in_scope: float, first: float, decline_below: float, answer_from: float) -> tuple[Outcome, Reason]:
    """Return what to do, and why: *in_scope* is P(the FAQ has the answer), *first* is P(the first entry is right)."""
    if in_scope < decline_below:
        return Outcome.DECLINE, Reason.BELOW_THRESHOLD
    if first >= answer_from:
        return Outcome.ANSWER, Reason.CONFIDENT
    return Outcome.CLARIFY, Reason.AMBIGUOUS
