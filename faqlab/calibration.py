"""From labelled queries to calibrated probabilities and to thresholds: all numbers of the configuration."""

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
"""FAQs that the encoders weren't trained on, with labelled queries: they keep the numbers valid for any FAQ."""


@dataclass(frozen=True)
class Limits:
    """The largest shares that the thresholds may allow."""

    wrong: float = 0.045  # of the answerable queries: answered wrong; on others it becomes some 5%
    false: float = 0.06  # of the out-of-scope queries: answered; on others it becomes some 5%
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
    `null_cosine` are a logistic regression of whether a query is answerable. The formulas stand in `faqlab.decision`.
    """

    def of_right(parameters: np.ndarray) -> float:
        losses = []
        for of in sets:
            inside = of.right.any(axis=1)
            scores = of.cosines[inside] + parameters[1] * of.ngrams[inside]
            best = np.argsort(-scores, axis=1)[:, :CONTENDERS]
            odds = np.exp(np.exp(parameters[0]) * (np.take_along_axis(scores, best, 1) - scores.max(1, keepdims=True)))
            p = (odds * np.take_along_axis(of.right[inside], best, 1)).sum(axis=1) / odds.sum(axis=1)
            losses.append(-np.log(np.clip(p, 1e-3, 1)))  # clipped: no scale can help if a right entry isn't among them
        return float(np.concatenate(losses).mean())

    features = np.concatenate([np.stack([of.cosines.max(1), of.cosines.mean(1)], axis=1) for of in sets])
    inside = np.concatenate([of.right.any(axis=1) for of in sets])

    def of_scope(parameters: np.ndarray) -> float:
        scope_scale, topic_weight, null_cosine = np.exp(parameters[0]), *parameters[1:]
        logits = scope_scale * (features @ [1, topic_weight] - null_cosine)
        return float(np.logaddexp(0, np.where(inside, -logits, logits)).mean())

    minimize, of_scale = partial(scipy.optimize.minimize, method="Nelder-Mead"), (0, np.log(1000))
    ranking = minimize(of_right, [np.log(20.0), 0.2], bounds=[of_scale, (0, 10)]).x
    scope = minimize(of_scope, [np.log(20.0), 0.5, 0.4], bounds=[of_scale, (-2, 10), (-1, 1)]).x
    names = ("scale", "ngram_weight", "scope_scale", "topic_weight", "null_cosine")
    return dict(zip(names, map(float, (np.exp(ranking[0]), ranking[1], np.exp(scope[0]), *scope[1:])), strict=True))


def thresholds(results: pd.DataFrame, limits: Limits = Limits()) -> dict[str, float]:
    """
    Return `decline_below`, the highest within *limits*, and the `scope_from` and `answer_from` that answer most right.

    *results* come from `evaluation.evaluate` with a calibrated retriever. The grid has steps of 0.01.
    """
    inside, right = results["answerable"].to_numpy(bool), (results["hit@1"] == 1).to_numpy()
    confidence, first, edges = results["confidence"].to_numpy(), results["first"].to_numpy(), np.arange(102) / 100

    def answered(those: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Return the share of *those* in *of* that each pair of thresholds answers."""
        counts = np.histogram2d(confidence[those], first[those], [edges, edges])[0]
        return counts[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1] / max(1, of.sum())

    kept = (answered(inside & ~right, inside) <= limits.wrong) & (answered(~inside, ~inside) <= limits.false)
    kept[-1, -1] = True  # the strictest of all, if none keeps within the limits
    scope_from, answer_from = np.unravel_index(np.where(kept, answered(right, inside), -1).argmax(), kept.shape)
    declined = (confidence[inside] < edges[:-1, None]).mean(axis=1) if inside.any() else np.zeros(len(edges) - 1)
    chosen = {"scope_from": edges[scope_from].item(), "answer_from": edges[answer_from].item()}
    return {"decline_below": edges[:-1][declined <= limits.declined].max().item(), **chosen}


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
