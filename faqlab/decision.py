"""
Answer, clarify or decline.

Two probabilities decide. P(the FAQ has the answer) is σ(scope_scale · (best + topic_weight · mean − null_cosine)).
Here *best* is the highest similarity of the query to an entry and *mean* is that to all entries: unlike a sum over the
entries, neither grows with the FAQ. P(an entry is right) is a share of it, by a softmax of scale · (similarity + bonus)
over the `CONTENDERS` best; the bonus is the overlap in character n-grams (`faqlab.ngrams`), which shows which entry is
meant, but not whether the FAQ has the answer. `faqlab.calibration` finds all numbers from labelled queries.
"""

from enum import StrEnum

import numpy as np

from faqlab.config import RetrievalConfig


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
    TWO_QUESTIONS = "two_questions"  # answer: of two questions at once, both have an answer, or (one hit) only one has
    AMBIGUOUS = "ambiguous"  # clarify: the FAQ probably has the answer, but the first entry isn't probable enough
    NO_CHOICE = "no_choice"  # clarify: the caller picked none of the choices, so the question is repeated
    BELOW_THRESHOLD = "below_threshold"  # decline: the FAQ probably doesn't have the answer
    NO_WORDS = "no_words"  # decline: there is no letter or digit in the query
    UNRESOLVED = "unresolved"  # decline: again, or a person is wanted, and no entry says how to reach one
    REJECTED = "rejected"  # decline: the caller turned down everything that was offered


CONTENDERS = 8  # how many of the best entries share the probability


def probabilities(similarities: np.ndarray, bonus: np.ndarray, config: RetrievalConfig) -> tuple[float, np.ndarray]:
    """
    Return the probability that the FAQ has the answer, and for each entry that it's the right one.

    *similarities* and *bonus* of one query have the shape (entries,) and are in the order of their sum, highest first.
    """
    assert config.scale is not None
    excess = similarities.max() + config.topic_weight * similarities.mean() - config.null_cosine
    in_scope = float(np.exp(-np.logaddexp(0, -config.scope_scale * excess)))  # σ without overflow
    scores = (similarities + bonus)[:CONTENDERS]
    odds = np.exp(config.scale * (scores - scores[0]))
    shares = np.zeros(len(similarities))
    shares[:CONTENDERS] = odds / odds.sum()
    return in_scope, in_scope * shares


def decide(
    in_scope: float, first: float, decline_below: float, answer_from: float, scope_from: float = 0.0
) -> tuple[Outcome, Reason]:
    """Return what to do, and why: *in_scope* is P(the FAQ has the answer), *first* is P(the first entry is right)."""
    if in_scope < decline_below:
        return Outcome.DECLINE, Reason.BELOW_THRESHOLD
    if in_scope >= scope_from and first >= answer_from:
        return Outcome.ANSWER, Reason.CONFIDENT
    return Outcome.CLARIFY, Reason.AMBIGUOUS
