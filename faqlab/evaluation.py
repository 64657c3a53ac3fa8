"""
How well retrieval does on labelled queries: per query, in sum with intervals, by kind, and one against another.

Measures are those of the field, computed by ir-measures on the labels as qrels: hit@k (`Success@k`), MRR (`RR`),
nDCG@k and recall@k, over the answerable queries. Out of scope: answer rate (share of the answerable queries that
are answered), false-answer rate (share of the out-of-scope queries that are answered) and the AUROC of the confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import ir_measures
import numpy as np
import pandas as pd
from ir_measures import RR, R, Success, nDCG

from faqlab.decision import Outcome, decide
from faqlab.faqs import FaqSet
from faqlab.retriever import DEPTH, Hit, Retriever, format_context

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
        `first` (the score of the first hit), `outcome`, `answered`, `answers` (how many entries answer: 2 or 3 where
        so many questions are asked), `choice_right` (whether a relevant entry is among the choices that are or would
        be offered), and the measures `hit@1`, `hit@3`, `mrr`, `ndcg@10`, `recall@3` and `two_turns` (1 where a right
        answer comes at once, or after asking back, the caller choosing by the label); NaN where out of scope.
    """
    rankings = retriever.rank(queries["query"].tolist(), progress=progress)
    ids = np.array(retriever.faqs.ids, dtype=object)
    ranked = [tuple(ids[ranking.entries]) for ranking in rankings]
    results = judge(queries, ranked, np.array([ranking.confidence for ranking in rankings]))
    results["squared_l2"] = [float(ranking.squared_l2[0]) for ranking in rankings]
    results["first"] = [float(ranking.scores[0]) for ranking in rankings]
    results["outcome"] = [str(ranking.outcome) for ranking in rankings]
    results["answers"] = [ranking.answers for ranking in rankings]
    results["choice_right"] = [
        bool(set(order[: ranking.choices]) & set(relevant))
        for order, ranking, relevant in zip(ranked, rankings, queries["relevant"], strict=True)
    ]
    return _with_outcomes(results)


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
    results["answers"], results["choice_right"] = 1, False
    results = results.join(_scores(results, MEASURES))
    results["two_turns"] = results["hit@1"]
    return results


def hit_curve(results: pd.DataFrame, ks: Iterable[int] = range(1, 11)) -> pd.DataFrame:
    """Return hit@k for each *k* with its interval: columns `top_k`, `value`, `low`, `high`. Embeds nothing anew."""
    columns = {f"hit@{k}": k for k in ks}
    scores = _scores(results, {column: Success @ k for column, k in columns.items()})
    rows = [(k, *interval(scores[column].dropna().to_numpy())) for column, k in columns.items()]
    return pd.DataFrame(rows, columns=["top_k", "value", "low", "high"])


def threshold_curve(results: pd.DataFrame) -> pd.DataFrame:
    """
    Return what each threshold on the confidence would do: answer iff it is at least that.

    Returns:
        One row a threshold, laxer downwards: `threshold`, `answer_rate` and `false_answer_rate` as defined above,
        `right_rate` (share of the answerable queries that are answered with a right first hit).
    """
    values = np.sort(-results["confidence"].to_numpy())
    answerable = results[results["answerable"]]
    outside = results[~results["answerable"]]

    def share(rows: pd.DataFrame, total: int) -> np.ndarray:
        return np.searchsorted(np.sort(-rows["confidence"].to_numpy()), values, side="right") / max(total, 1)

    return pd.DataFrame(
        {
            "threshold": -values,
            "answer_rate": share(answerable, len(answerable)),
            "right_rate": share(answerable[answerable["hit@1"] == 1], len(answerable)),
            "false_answer_rate": share(outside, len(outside)) if len(outside) else np.nan,
        }
    )


FATES = (
    "answered, right",
    "asked back, the right one offered",
    "asked back, the right one not offered",
    "answered, wrong",
    "declined",
)


def fates(results: pd.DataFrame) -> pd.DataFrame:
    """
    Count what becomes of the queries.

    Returns:
        A row each for the `answerable` and the `out of scope` queries, if there are any; a column for each of `FATES`.
    """
    answered, asked = (results["outcome"] == outcome for outcome in (Outcome.ANSWER, Outcome.ASK_BACK))
    conditions = [answered & (results["hit@1"] == 1), asked & results["choice_right"], asked, answered]
    fate = np.select(conditions, FATES[:4], FATES[4])
    scope = np.where(results["answerable"], "answerable", "out of scope")
    return pd.crosstab(scope, fate).reindex(columns=FATES, fill_value=0).rename_axis(index=None, columns=None)


CAUSES = (
    "1. answered wrong",
    "2. answered, though out of scope",
    "3. asked back, the right one not offered",
    "4. asked back, though out of scope",
    "5. declined, with the right one first",
    "6. declined, with another one first",
)


def causes(results: pd.DataFrame) -> pd.Series:
    """Return by which of `CAUSES` each query failed; "" where it did not."""
    asked, outcome, right = results["answerable"], results["outcome"], results["hit@1"] == 1
    failed = [
        asked & (outcome == Outcome.ANSWER) & ~right,
        ~asked & (outcome == Outcome.ANSWER),
        asked & (outcome == Outcome.ASK_BACK) & ~results["choice_right"],
        ~asked & (outcome == Outcome.ASK_BACK),
        asked & (outcome == Outcome.DECLINE) & right,
        asked & (outcome == Outcome.DECLINE) & ~right,
    ]
    return pd.Series(np.select(failed, CAUSES, ""), index=results.index)


def outcomes(results: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of *answer*, *ask_back* and *decline*: rows `answerable` and `out_of_scope`, NaN where none."""
    rows = {"answerable": results[results["answerable"]], "out_of_scope": results[~results["answerable"]]}
    shares = {name: [(of["outcome"] == outcome).mean() for outcome in Outcome] for name, of in rows.items()}
    return pd.DataFrame.from_dict(shares, orient="index", columns=[str(outcome) for outcome in Outcome])


def decide_again(results: pd.DataFrame, decline_below: float, answer_from: float) -> pd.DataFrame:
    """Return *results* as other thresholds would have had them; what answers two questions at once stays as it is."""
    again = results.copy()
    alone = again["answers"] == 1
    again.loc[alone, "outcome"] = [
        str(decide(in_scope, first, decline_below, answer_from))
        for in_scope, first in zip(again.loc[alone, "confidence"], again.loc[alone, "first"], strict=True)
    ]
    return _with_outcomes(again)


def fate_curve(
    results: pd.DataFrame, decline_below: float | None = None, answer_from: float | None = None
) -> pd.DataFrame:
    """
    Return what becomes of the queries under each value of the threshold that is not given.

    Returns:
        One row a threshold (0 to 1 in fiftieths) and scope, indexed by both; columns are shares, in the order of
        `FATES`.
    """
    tables = {}
    for threshold in np.arange(51) / 50:
        low = threshold if decline_below is None else decline_below
        high = threshold if answer_from is None else answer_from
        counts = fates(decide_again(results, low, high))
        tables[threshold] = counts.div(counts.sum(axis=1), axis=0)
    return pd.concat(tables, names=["threshold", "scope"])


def _with_outcomes(results: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from the outcomes: `answered` and `two_turns`."""
    results["answered"] = results["outcome"] == Outcome.ANSWER
    asked_right = (results["outcome"] == Outcome.ASK_BACK) & results["choice_right"]
    results["two_turns"] = np.where(
        results["answerable"], np.where(results["answered"], results["hit@1"], asked_right), np.nan
    )
    return results


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
    curve = threshold_curve(results)
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
    rows["two_turn_success"] = interval(results["two_turns"].dropna().to_numpy())
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


def is_clear(comparison: Mapping[str, float]) -> bool:
    """Whether *comparison*, as `compare` returns it, is more than chance: p below 0.05, and 0 outside the interval."""
    return comparison["p"] < 0.05 and not comparison["low"] <= 0 <= comparison["high"]


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
