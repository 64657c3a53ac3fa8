"""
How well retrieval does on labelled queries: per query, in sum with intervals, by kind, and one against another.

Measures are those of the field, computed by ir-measures on the labels as qrels: hit@k (`Success@k`), MRR (`RR`),
nDCG@k and recall@k, over the answerable queries. Out of scope: answer rate (share of the answerable queries that
are answered), false-answer rate (share of the out-of-scope queries that are answered) and the AUROC of the confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import ir_measures
import numpy as np
import pandas as pd
from ir_measures import RR, R, Success, nDCG

from faqlab.faqs import FaqSet
from faqlab.retriever import Hit, Outcome, Retriever, format_context

DEPTH = 1000
"""How many entries are ranked for each query; an FAQ with fewer is ranked whole."""

MEASURES = {"hit@1": Success @ 1, "hit@3": Success @ 3, "mrr": RR, "ndcg@10": nDCG @ 10, "recall@3": R @ 3}
RESAMPLES = 2000
SEED = 20_26


def evaluate(retriever: Retriever, queries: pd.DataFrame, *, progress: bool = False) -> pd.DataFrame:
    """
    Put every query to *retriever*.

    Args:
        retriever: With the configuration to be judged.
        queries: As `load_queries` returns them.
        progress: Show a bar while embedding.

    Returns:
        The queries with, for each: `ranked` (FAQ ids, best first), `squared_l2` (of the first), `confidence`,
        `outcome`, `answered`, and `hit@1`, `hit@3`, `mrr`, `ndcg@10`, `recall@3` (NaN where out of scope).
    """
    vectors = retriever.embed(queries["query"].tolist(), progress=progress)
    distances, entries = retriever.index.search(vectors, DEPTH)
    ids = np.array(retriever.faqs.ids, dtype=object)
    results = judge(queries, [tuple(ids[row]) for row in entries], 1 - distances[:, 0] / 2)
    results["squared_l2"] = distances[:, 0]
    results["outcome"] = [str(retriever.decide(d)) for d in distances[:, 0]]
    results["answered"] = results["outcome"] == Outcome.ANSWER
    return results


def evaluate_bm25(faqs: FaqSet, queries: pd.DataFrame) -> pd.DataFrame:
    """
    Put every query to BM25 over question and answer (bm25s, its defaults, English stop words): what words alone find.

    Returns:
        As `evaluate`; the confidence is the BM25 score, and every query is answered.
    """
    import bm25s

    def words(texts: list[str]) -> list[list[str]]:
        return bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)

    index = bm25s.BM25()
    corpus = words([f"{faq.question} {faq.answer}" for faq in faqs])
    if any(corpus):
        index.index(corpus, show_progress=False)
    ids = np.array(faqs.ids, dtype=object)
    scores = np.stack(
        [
            index.get_scores(query) if query and any(corpus) else np.zeros(len(ids))
            for query in words(queries["query"].tolist())
        ]
    )
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    return judge(queries, [tuple(ids[row]) for row in order], scores.max(axis=1))


def evaluate_chance(faqs: FaqSet, queries: pd.DataFrame) -> pd.DataFrame:
    """Put every query to a shuffled FAQ: what no knowledge at all scores. Returns as `evaluate_bm25`."""
    rng = np.random.default_rng(SEED)
    ids = np.array(faqs.ids, dtype=object)
    ranked = [tuple(rng.permutation(ids)[:DEPTH]) for _ in range(len(queries))]
    return judge(queries, ranked, rng.random(len(queries)))


def judge(queries: pd.DataFrame, ranked: Sequence[tuple[str, ...]], confidence: np.ndarray) -> pd.DataFrame:
    """Hold rankings against the labels. Returns as `evaluate`, every query answered and at no distance."""
    results = queries.copy()
    results["ranked"] = list(ranked)
    results["squared_l2"] = np.nan
    results["confidence"] = np.asarray(confidence, float)
    results["outcome"] = str(Outcome.ANSWER)
    results["answered"] = True
    scores = _scores(results, MEASURES)
    return results.join(scores)


def hit_curve(results: pd.DataFrame, ks: Iterable[int] = range(1, 11)) -> pd.DataFrame:
    """Return hit@k for each *k* with its interval: columns `top_k`, `value`, `low`, `high`. Embeds nothing anew."""
    scores = _scores(results, {f"hit@{k}": Success @ k for k in ks})
    rows = [(int(str(name).split("@")[1]), *interval(scores[name].dropna().to_numpy())) for name in scores]
    return pd.DataFrame(rows, columns=["top_k", "value", "low", "high"])


def threshold_curve(results: pd.DataFrame, column: str = "squared_l2") -> pd.DataFrame:
    """
    Return what each threshold would do: answer iff the first hit's *column* is at most (for `confidence`: at least) it.

    Returns:
        One row a threshold, laxer downwards: `threshold`, `answer_rate` and `false_answer_rate` as defined above,
        `right_rate` (share of the answerable queries that are answered with a right first hit).
    """
    sign = -1.0 if column == "confidence" else 1.0
    values = np.sort(sign * results[column].to_numpy())
    answerable = results[results["answerable"]]
    outside = results[~results["answerable"]]

    def share(rows: pd.DataFrame, total: int) -> np.ndarray:
        return np.searchsorted(np.sort(sign * rows[column].to_numpy()), values, side="right") / max(total, 1)

    return pd.DataFrame(
        {
            "threshold": sign * values,
            "answer_rate": share(answerable, len(answerable)),
            "right_rate": share(answerable[answerable["hit@1"] == 1], len(answerable)),
            "false_answer_rate": share(outside, len(outside)) if len(outside) else np.nan,
        }
    )


def outcomes(results: pd.DataFrame, top_k: int, max_squared_l2: float | None) -> pd.DataFrame:
    """
    Count what becomes of the queries when *top_k* entries are handed on and what is too far is declined.

    Returns:
        A row each for the `answerable` and the `out of scope` queries, if there are any; columns `a right entry among
        the k`, `no right entry among the k` and `declined`.
    """
    found = [
        bool(set(ranked[:top_k]) & set(relevant))
        for ranked, relevant in zip(results["ranked"], results["relevant"], strict=True)
    ]
    declined = results["squared_l2"] > (4 if max_squared_l2 is None else max_squared_l2)
    names = ["a right entry among the k", "no right entry among the k", "declined"]
    outcome = np.select([declined, found], [names[2], names[0]], names[1])
    scope = np.where(results["answerable"], "answerable", "out of scope")
    return pd.crosstab(scope, outcome).reindex(columns=names, fill_value=0).rename_axis(index=None, columns=None)


def context_costs(results: pd.DataFrame, faqs: FaqSet, ks: Iterable[int] = range(1, 11)) -> pd.DataFrame:
    """
    Return what the model reads for each *k*: columns `top_k`; `words`, `low` and `high` (mean, 5 % and 95 % of the
    queries); `characters` (mean).
    """
    texts = {faq.id: format_context([Hit(1, faq, 0.0, 1.0)]) for faq in faqs}
    rows = []
    for k in ks:
        contexts = [[texts[faq_id] for faq_id in ranked[:k]] for ranked in results["ranked"]]
        words = np.array([sum(len(text.split()) for text in context) for context in contexts])
        characters = np.mean([len("\n\n".join(context)) for context in contexts])
        rows.append((k, words.mean(), *np.percentile(words, [5, 95]), characters))
    return pd.DataFrame(rows, columns=["top_k", "words", "low", "high", "characters"])


def false_answer_rate_at(results: pd.DataFrame, answer_rate: float = 0.85) -> float:
    """Return the false-answer rate where the strictest confidence threshold answers *answer_rate* of the answerable."""
    curve = threshold_curve(results, "confidence")
    enough = curve[curve["answer_rate"] >= answer_rate]
    return float(enough["false_answer_rate"].iloc[0]) if len(enough) else float("nan")


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """
    Return the measures over all queries: index `measure`, columns `value`, `low`, `high` (95 % bootstrap interval).

    What has no queries to be computed on (say, AUROC without an out-of-scope query) is NaN.
    """
    answerable = results["answerable"].to_numpy()
    rows = {name: interval(results[name].dropna().to_numpy()) for name in MEASURES}
    answered = results["answered"].to_numpy(float)
    rows["answer_rate"] = interval(answered[answerable])
    rows["false_answer_rate"] = interval(answered[~answerable])
    rows["auroc"] = _auroc_interval(answerable, results["confidence"].to_numpy())
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"]).rename_axis("measure")


def by_kind(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a kind: `queries`, `hit@1`, `hit@3`, `mrr` (NaN where out of scope) and `answered` (share)."""
    groups = results.groupby("kind", sort=False)
    table = groups[["hit@1", "hit@3", "mrr", "answered"]].mean()
    table.insert(0, "queries", groups.size())
    return table.sort_values(["hit@1", "answered"], ascending=False)


def interval(values: np.ndarray, statistic: Callable[..., np.ndarray] = np.mean) -> tuple[float, float, float]:
    """
    Return a statistic of *values* and its 95 % interval, by the percentile bootstrap over queries.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; 2,000 resamples, fixed seed.
    """
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    draws = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(statistic(values[draws], axis=1), [2.5, 97.5])
    return float(statistic(values)), float(low), float(high)


def compare(results: pd.DataFrame, baseline: pd.DataFrame, measure: str = "hit@1") -> dict[str, float]:
    """
    Test whether two configurations differ on the same queries, by a paired randomisation test.

    Under the null hypothesis the sign of each query's difference is a coin's toss; the p-value is the share of
    10,000 tosses with a mean at least as far from 0, the observed one counted in.
    Source: Smucker, Allan and Carterette, CIKM 2007.

    Returns:
        `difference` (results − baseline), its 95 % interval `low` and `high`, and `p`; NaN without answerable queries.

    Raises:
        ValueError: the two were not made of the same queries.
    """
    if list(results["id"]) != list(baseline["id"]):
        raise ValueError("the two results are of different queries")
    differences = (results[measure].to_numpy(float) - baseline[measure].to_numpy(float))[
        results["answerable"].to_numpy()
    ]
    observed, low, high = interval(differences)
    if not len(differences):
        return {"difference": observed, "low": low, "high": high, "p": float("nan")}
    signs = np.random.default_rng(SEED).choice([-1.0, 1.0], (10_000, len(differences)))
    as_far = np.abs((signs * differences).mean(axis=1)) >= abs(observed) - 1e-12
    return {
        "difference": observed,
        "low": low,
        "high": high,
        "p": float((as_far.sum() + 1) / (len(signs) + 1)),
    }


def _scores(results: pd.DataFrame, measures: dict[str, ir_measures.Measure]) -> pd.DataFrame:
    """Return each query's measures, NaN where out of scope, indexed as *results*."""
    answerable = results[results["answerable"]]
    qrels = [
        ir_measures.Qrel(q, faq, 1)
        for q, relevant in zip(answerable["id"], answerable["relevant"], strict=True)
        for faq in relevant
    ]
    run = [
        ir_measures.ScoredDoc(q, faq, -float(rank))
        for q, ranked in zip(answerable["id"], answerable["ranked"], strict=True)
        for rank, faq in enumerate(ranked)
    ]
    names = {str(measure): name for name, measure in measures.items()}
    scores = pd.DataFrame(np.nan, index=results.index, columns=list(measures))
    row_of = dict(zip(answerable["id"], answerable.index, strict=True))
    if qrels:
        cells: dict[str, dict[int, float]] = {name: {} for name in measures}
        for metric in ir_measures.iter_calc(list(measures.values()), qrels, run):
            cells[names[str(metric.measure)]][row_of[metric.query_id]] = metric.value
        for name, column in cells.items():
            scores[name] = pd.Series(column).reindex(results.index)
    return scores


def _auroc_interval(answerable: np.ndarray, confidence: np.ndarray) -> tuple[float, float, float]:
    """
    Return the chance that an answerable query is surer than an out-of-scope one, ties half, with its interval.

    Source: Mann–Whitney's U over the number of pairs; resampled within each group.
    """
    inside, outside = confidence[answerable], confidence[~answerable]
    if not len(inside) or not len(outside):
        return float("nan"), float("nan"), float("nan")
    wins = (inside[:, None] > outside[None, :]) + 0.5 * (inside[:, None] == outside[None, :])
    rng = np.random.default_rng(SEED)
    draws = []
    for _ in range(RESAMPLES):
        rows = np.bincount(rng.integers(0, len(inside), len(inside)), minlength=len(inside))
        columns = np.bincount(rng.integers(0, len(outside), len(outside)), minlength=len(outside))
        draws.append(rows @ wins @ columns / wins.size)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(wins.mean()), float(low), float(high)
