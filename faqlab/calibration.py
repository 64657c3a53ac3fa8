"""From labelled queries to calibrated probabilities, and to the cheapest thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from faqlab.decision import probabilities
from faqlab.retriever import Retriever


@dataclass(frozen=True)
class Costs:
    """What mistakes cost, in units of one needless "I don't know"."""

    wrong: float = 2.0  # a wrong answer, and any answer to an out-of-scope query
    clarify: float = 0.5  # a clarifying question; plus 1 if the query is answerable but no choice is right

    def of(self, results: pd.DataFrame) -> pd.Series:
        """Return the cost of each query in *results*, a table from `evaluation.evaluate`."""
        prices = {"answered wrong": self.wrong, "clarified right": self.clarify, "clarified wrong": self.clarify}
        missed = results["answerable"] & results["result"].isin(["clarified wrong", "declined"])
        return results["result"].map(prices).fillna(0.0) + missed


@dataclass(frozen=True)
class Similarities:
    """How similar each query is to each entry of one FAQ, and which entries are right."""

    cosines: np.ndarray  # of the vectors, shape (queries, entries)
    ngrams: np.ndarray  # of the character n-grams, shape (queries, entries)
    right: np.ndarray  # whether the entry is right; last column: whether none is. Shape (queries, entries + 1)

    @classmethod
    def of(cls, retriever: Retriever, queries: pd.DataFrame) -> Self:
        """Compare *queries*, as `load_queries` returns them, with the entries of *retriever*."""
        texts = queries["query"].tolist()
        right = np.zeros((len(queries), len(retriever.faqs) + 1), bool)
        for row, relevant in enumerate(queries["relevant"]):
            right[row, [retriever.faqs.position[faq_id] for faq_id in relevant] or [-1]] = True
        return cls(retriever.embed(texts) @ retriever.index.vectors.T, retriever.ngrams.cosines(texts), right)


def fit(sets: Sequence[Similarities]) -> tuple[float, float, float]:
    """Return the maximum-likelihood `scale`, `null_cosine` and `ngram_weight` of `RetrievalConfig`, over all *sets*."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> float:
        scale, null, weight = np.exp(parameters[0]), *parameters[1:]
        p = [(probabilities(of.cosines, scale, null, weight * of.ngrams) * of.right).sum(axis=1) for of in sets]
        return float(-np.log(np.clip(np.concatenate(p), 1e-12, 1)).mean())

    bounds = [(0.0, np.log(1000)), (-1.0, 1.0), (0.0, 10.0)]
    found = minimize(loss, np.array([np.log(20.0), 0.5, 0.2]), method="Nelder-Mead", bounds=bounds)
    log_scale, null_cosine, ngram_weight = found.x.tolist()
    return float(np.exp(log_scale)), null_cosine, ngram_weight


def min_cost_thresholds(
    results: pd.DataFrame, costs: Costs = Costs(), out_of_scope: float | None = None
) -> tuple[float, float, float]:
    """
    Return the `decline_below` and `answer_from` with the lowest mean cost (on a grid of 0.01), and that cost per query.

    Ties go to the lowest thresholds. *results* come from `evaluation.evaluate` with a calibrated retriever.
    *out_of_scope* is the expected share of out-of-scope queries; by default, their share in *results*.
    """
    answerable = results["answerable"].to_numpy(bool)
    share = 1 - answerable.mean() if out_of_scope is None else out_of_scope
    weights = np.where(answerable, (1 - share) / max(answerable.sum(), 1), share / max((~answerable).sum(), 1))
    if_answered = costs.wrong * (results["hit@1"] != 1).to_numpy()
    if_clarified = costs.clarify + (answerable & ~results["choice_right"].to_numpy(bool))
    thresholds = np.arange(101) / 100
    # For every pair of thresholds: the cost of the queries that aren't declined, plus that of the declined ones.
    kept = results["confidence"].to_numpy() >= thresholds[:, None]
    not_declined = weights * np.where(results["first"].to_numpy() >= thresholds[:, None], if_answered, if_clarified)
    cost = kept @ not_declined.T + ~kept @ (weights * answerable)[:, None]
    decline_below, answer_from = np.unravel_index(cost.round(9).argmin(), cost.shape)
    return float(thresholds[decline_below]), float(thresholds[answer_from]), float(cost.min())
