"""From labelled queries to the numbers that decide: a calibrated probability, and the thresholds of a stated cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from faqlab.decision import probabilities
from faqlab.retriever import RANGES, Retriever


@dataclass(frozen=True)
class Costs:
    """
    What a person holds against the assistant, in units of one needless "I don't know".

    Attributes:
        wrong: Of a wrong answer, and of any answer to what the FAQ does not cover.
        ask: Of asking back, for the caller's time.
    """

    wrong: float = 2.0
    ask: float = 0.5


def fit(sets: Iterable[tuple[Retriever, pd.DataFrame]]) -> tuple[float, float, float]:
    """
    Return the `scale`, `none` and `lexical` of `RetrievalConfig` under which the labels are likeliest.

    Args:
        sets: FAQs, each with its queries as `load_queries` returns them. Several of them, for the numbers to hold for
            an FAQ that is not among them.
    """
    from scipy.optimize import minimize

    tables = []
    for retriever, queries in sets:
        texts = queries["query"].tolist()
        cosines = retriever.embed(texts) @ retriever.index.vectors.T
        in_common = retriever.ngrams.cosines(texts)
        right = np.zeros((len(queries), len(retriever.faqs) + 1), bool)
        for row, relevant in enumerate(queries["relevant"]):
            right[row, [retriever.faqs.position[faq_id] for faq_id in relevant] or [-1]] = True
        tables.append((cosines, in_common, right))

    def loss(parameters: np.ndarray) -> float:
        log_scale, none, lexical = parameters.tolist()
        on_right = [
            (probabilities(cosines, np.exp(log_scale), none, lexical * in_common) * right).sum(axis=1)
            for cosines, in_common, right in tables
        ]
        return float(-np.log(np.clip(np.concatenate(on_right), 1e-12, 1)).mean())

    start = [np.log(20.0), 0.5, 0.2]
    bounds = [tuple(np.log(RANGES["scale"])), RANGES["none"], RANGES["lexical"]]
    log_scale, none, lexical = minimize(loss, np.array(start), method="Nelder-Mead", bounds=bounds).x.tolist()
    return float(np.exp(log_scale)), none, lexical


def reliability(probability: pd.Series, came_true: pd.Series, bins: int = 10) -> pd.DataFrame:
    """Return for each tenth of the scale: `predicted` (mean), `observed` (share that came true), `queries`."""
    table = pd.DataFrame({"predicted": probability.astype(float), "observed": came_true.astype(float)})
    groups = table.groupby(
        pd.cut(probability, np.linspace(0, 1, bins + 1).tolist(), include_lowest=True), observed=True
    )
    return groups.mean().assign(queries=groups.size()).reset_index(drop=True)


def cheapest(results: pd.DataFrame, costs: Costs) -> tuple[float, float, float]:
    """
    Return the thresholds `decline_below` and `answer_from`, in hundredths, that cost least, and their mean cost.

    A wrong or unwarranted answer costs `wrong`; declining an answerable query 1; asking back `ask`, and 1 more where
    the query is answerable and no choice is right. Of equally cheap thresholds the lowest are taken.

    Args:
        results: By `evaluation.evaluate`, with a calibrated retriever.
        costs: What errors cost.
    """
    results = results[results["answers"] == 1]  # where two questions were told apart, no threshold of these decided
    in_scope, first, answerable, choice_right = (
        results[name].to_numpy() for name in ("confidence", "first", "answerable", "choice_right")
    )
    if_answered = costs.wrong * (results["hit@1"] != 1).to_numpy()
    if_asked = costs.ask + (answerable & ~choice_right)
    thresholds = np.arange(101) / 100
    # Declined or not, and if not, answered or asked: for each pair of thresholds a sum over the queries.
    kept = in_scope >= thresholds[:, None]
    not_declined = np.stack([np.where(first >= limit, if_answered, if_asked) for limit in thresholds])
    cost = (kept @ not_declined.T + ~kept @ answerable[:, None].astype(float)) / max(len(results), 1)
    decline_below, answer_from = np.unravel_index(cost.round(9).argmin(), cost.shape)
    return float(thresholds[decline_below]), float(thresholds[answer_from]), float(cost.min())
