"""From labelled queries to calibrated probabilities and to thresholds: all numbers of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import pandas as pd
import scipy

from faqlab.config import RetrievalConfig
from faqlab.decision import CONTENDERS
from faqlab.evaluation import decide_again, evaluate
from faqlab.queries import load_domains
from faqlab.retriever import Retriever
from faqlab.settings import PROJECT_ROOT

OTHERS = PROJECT_ROOT / "data/training/validation"
"""FAQs that the encoder wasn't trained on, with labelled queries: they keep the numbers valid for any FAQ."""


@dataclass(frozen=True)
class Limits:
    """The largest shares that the thresholds may allow."""

    wrong: float = 0.05  # of the answerable queries: answered wrong
    false: float = 0.05  # of the out-of-scope queries: answered
    declined: float = 0.05  # of the answerable queries: declined


@dataclass(frozen=True)
class Similarities:
    """How similar each query is to each entry of one FAQ, and which entries are right."""

    cosines: np.ndarray  # similarities by the vectors, shape (queries, entries)
    ngrams: np.ndarray  # by the character n-grams, shape (queries, entries)
    right: np.ndarray  # whether the entry is right, shape (queries, entries)

    @classmethod
    def of(cls, retriever: Retriever, queries: pd.DataFrame) -> Self:
        """Compare *queries*, as `load_queries` returns them, with the entries of *retriever*."""
        texts, ids = queries["query"].tolist(), retriever.faqs.ids
        right = np.array([[faq_id in relevant for faq_id in ids] for relevant in queries["relevant"]])
        return cls(retriever.similarities(texts), retriever.ngrams.cosines(texts), right)


def fit(sets: Sequence[Similarities]) -> dict[str, float]:
    """
    Return the numbers of maximum likelihood over all *sets*, by their names in `RetrievalConfig`.

    `scale` and `ngram_weight` make the right entry probable among the best ones; `scope_scale`, `topic_weight` and
    `null_cosine` are a logistic regression of whether a query is answerable, and `scope_weight`, `share_weight` and
    `offset` one of whether the first entry is right. The formulas stand in `faqlab.decision`.
    """

    def of_right(parameters: np.ndarray) -> float:
        found = [_shares(of, np.exp(parameters[0]), parameters[1]) for of in sets]
        p = np.concatenate([(shares * right).sum(axis=1) for shares, right in found])[answerable]
        return float(-np.log(np.clip(p, 1e-3, 1)).mean())  # clipped: no scale can help if no right entry is among them

    answerable = np.concatenate([of.right.any(axis=1) for of in sets])
    ranking = scipy.optimize.minimize(
        of_right, [np.log(20.0), 0.2], method="Nelder-Mead", bounds=[(0, np.log(1000)), (0, 10)]
    ).x
    scale, ngram_weight = np.exp(ranking[0]), ranking[1]
    features = np.concatenate([np.stack([of.cosines.max(1), of.cosines.mean(1)], axis=1) for of in sets])
    slope, topic, constant = _regress(features, answerable, [(1, 1000), (-1000, 1000), (-1000, 1000)])
    scope = slope, np.clip(topic / slope, -2, 10), np.clip(-constant / slope, -1, 1)
    firsts = [(shares[:, 0], right[:, 0]) for of in sets for shares, right in [_shares(of, scale, ngram_weight)]]
    share, right = map(np.concatenate, zip(*firsts, strict=True))
    evidence = np.stack([slope * (features @ [1, scope[1]] - scope[2]), share], axis=1)
    decision = _regress(evidence, right, [(0, 10), (0, 100), (-100, 100)])
    names = ("scale", "ngram_weight", "scope_scale", "topic_weight", "null_cosine", "scope_weight", "share_weight")
    return dict(zip((*names, "offset"), map(float, (scale, ngram_weight, *scope, *decision)), strict=True))


def _shares(of: Similarities, scale: float, ngram_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of the `CONTENDERS` best entries for each query, best first, and whether each is right."""
    scores = of.cosines + ngram_weight * of.ngrams
    best = np.argsort(-scores, axis=1)[:, :CONTENDERS]
    odds = np.exp(scale * (np.take_along_axis(scores, best, 1) - scores.max(axis=1, keepdims=True)))
    return odds / odds.sum(axis=1, keepdims=True), np.take_along_axis(of.right, best, 1)


def _regress(features: np.ndarray, targets: np.ndarray, bounds: list[tuple[float, float]]) -> np.ndarray:
    """Return the weights and the constant, within *bounds*, of a logistic regression of *targets* on *features*."""
    signs = np.where(targets, -1, 1)

    def loss(of: np.ndarray) -> float:
        return float(np.logaddexp(0, signs * (features @ of[:-1] + of[-1])).mean())

    return scipy.optimize.minimize(loss, [1.0] * len(bounds), method="L-BFGS-B", bounds=bounds).x


def thresholds(results: pd.DataFrame, limits: Limits = Limits()) -> dict[str, float]:
    """
    Return `answer_from`, the lowest that keeps within *limits*, and `decline_below`, the highest, on a grid of 0.01.

    *results* come from `evaluation.evaluate` with a calibrated retriever.
    """
    inside, right = results["answerable"].to_numpy(bool), (results["hit@1"] == 1).to_numpy()
    grid = np.arange(101)[:, None] / 100
    answered, declined = results["first"].to_numpy() >= grid, results["confidence"].to_numpy() < grid
    wrong, false, lost = (
        share[:, of].mean(axis=1) if of.any() else np.zeros(len(grid))
        for share, of in ((answered & ~right, inside), (answered, ~inside), (declined, inside))
    )
    kept = (wrong <= limits.wrong) & (false <= limits.false)
    answer_from = grid[kept.argmax() if kept.any() else -1]
    return {"decline_below": grid[lost <= limits.declined].max().item(), "answer_from": answer_from.item()}


def tune(
    retriever: Retriever, queries: pd.DataFrame, limits: Limits = Limits()
) -> tuple[RetrievalConfig, dict[str, pd.DataFrame]]:
    """
    Return the configuration of *retriever* with all numbers found on *queries* and `OTHERS` together.

    Also return the results of each FAQ with these numbers, the own one first. *queries* are labelled, as `load_queries`
    returns them: none that you evaluate on.
    """
    sets = {"this FAQ": (retriever, queries)} | with_others(retriever)
    found = fit([Similarities.of(*one) for one in sets.values()])
    fitted = {name: round(value, 3) for name, value in found.items()}
    judged = {name: evaluate(of.with_config(**fitted), asked) for name, (of, asked) in sets.items()}
    chosen = thresholds(pd.concat(judged.values(), ignore_index=True), limits)
    config = retriever.config.with_changes(**fitted, **chosen)
    return config, {name: decide_again(of, **chosen) for name, of in judged.items()}


def with_others(retriever: Retriever) -> dict[str, tuple[Retriever, pd.DataFrame]]:
    """Return a retriever like *retriever* for each of `OTHERS`, and its queries."""
    build = partial(Retriever.build, config=retriever.config, encoder=retriever.encoder)
    return {name: (build(faqs), queries) for name, (faqs, queries) in load_domains(OTHERS).items()}
