"""How good retrieval and its decisions are on labelled queries: ranking measures, results, and their intervals."""

from collections.abc import Sequence
from typing import Any

import ir_measures
import numpy as np
import pandas as pd
import scipy  # which loads scipy.stats, a second's work, when it's first used
from ir_measures import RR, R, Success, nDCG

from faqlab.decision import Outcome, Reason, decide
from faqlab.retriever import Retriever

MEASURES = {"hit@1": Success @ 1, "hit@3": Success @ 3, "mrr": RR, "ndcg@10": nDCG @ 10, "recall@3": R @ 3}
RESULTS = ("answered right", "clarified right", "clarified wrong", "answered wrong", "declined")
SEED = 20_26


def evaluate(retriever: Retriever, queries: pd.DataFrame) -> pd.DataFrame:
    """
    Run *queries*, as `load_queries` returns them, through *retriever* and compare the rankings with the labels.

    Returns the queries with the columns that docs/output.md describes for `--save`; `ranked` is a tuple of all ids.
    """
    rankings = retriever.rank(queries["query"].tolist())
    ids = np.array(retriever.faqs.ids, dtype=object)
    ranked = [tuple(ids[ranking.entries]) for ranking in rankings]
    offered = [{order[n] for n in ranking.offered} for order, ranking in zip(ranked, rankings, strict=True)]
    return judge(
        queries,
        ranked,
        [ranking.confidence for ranking in rankings],
        found=[retriever.faqs[order[0]].question for order in ranked],
        squared_l2=[float(ranking.squared_l2[0]) for ranking in rankings],
        first=[ranking.first for ranking in rankings],
        outcome=[str(ranking.outcome) for ranking in rankings],
        reason=[str(ranking.reason) for ranking in rankings],
        choice_right=[bool(a & set(b)) for a, b in zip(offered, queries["relevant"], strict=True)],
    )


def judge(
    queries: pd.DataFrame, ranked: Sequence[tuple[str, ...]], confidence: Sequence[float] | np.ndarray, **columns: Any
) -> pd.DataFrame:
    """Return the same table as `evaluate` for given rankings; all are answered if *columns* has no `outcome`."""
    answered = {"outcome": str(Outcome.ANSWER), "reason": str(Reason.UNCALIBRATED), "choice_right": False}
    columns = {"squared_l2": np.nan, "first": np.nan, **answered, **columns}
    results = queries.assign(ranked=pd.Series(ranked, queries.index), confidence=confidence, **columns)
    qrels, run = {}, {}
    for query, relevant, order in results.loc[results["answerable"], ["id", "relevant", "ranked"]].to_numpy():
        qrels[query], run[query] = dict.fromkeys(relevant, 1), {faq: -rank for rank, faq in enumerate(order)}
    found = ir_measures.iter_calc(list(MEASURES.values()), qrels, run) if qrels else ()
    scores = {(metric.query_id, metric.measure): metric.value for metric in found}
    table = {name: [scores.get((query, of), np.nan) for query in results["id"]] for name, of in MEASURES.items()}
    return _with_results(results.assign(**table))


def decide_again(results: pd.DataFrame, **thresholds: float) -> pd.DataFrame:
    """Return what *results* of a calibrated retriever would be with other *thresholds*, those of `decide`."""
    worded = results[results["reason"] != Reason.NO_WORDS]
    chances = worded[["confidence", "first"]].to_numpy().tolist()
    decisions = [decide(in_scope, first, **thresholds) for in_scope, first in chances]
    again = results.copy()
    again.update(pd.DataFrame(decisions, worded.index, ["outcome", "reason"], dtype=str))
    return _with_results(again)


def _with_results(results: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from the outcomes: `answered`, `result` and `two_turns`."""
    answered, clarified = (results["outcome"] == outcome for outcome in (Outcome.ANSWER, Outcome.CLARIFY))
    conditions = [answered & (results["hit@1"] == 1), clarified & results["choice_right"], clarified, answered]
    result = np.select(conditions, RESULTS[:4], RESULTS[4])
    right = pd.Series(result, results.index).isin(RESULTS[:2]).astype(float)
    return results.assign(answered=answered, result=result, two_turns=right.where(results["answerable"]))


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Return the means of `per_query` with intervals: index `measure`, columns `value`, `low`, `high`; NaN if none."""
    rows = {name: interval(scores.dropna()) for name, scores in per_query(results).items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"]).rename_axis("measure")
    return table.clip(upper=1)  # the pseudo-values of `auroc` may exceed it


def per_query(results: pd.DataFrame) -> pd.DataFrame:
    """
    Return the measures in docs/output.md by query, each the mean of its column; NaN where a query doesn't count.

    `auroc` has pseudo-values, whose mean has the variance of DeLong, DeLong and Clarke-Pearson (Biometrics, 1988).
    """
    inside, answered = results["answerable"], results["answered"].astype(float)
    table = results[list(MEASURES)].assign(two_turn_success=results["two_turns"])
    for result in ("right", "wrong"):
        table[f"{result}_at_once"] = (results["result"] == f"answered {result}").astype(float).where(inside)
    table = table.assign(answer_rate=answered.where(inside), false_answer_rate=answered.where(~inside), auroc=np.nan)
    confidence = results["confidence"].to_numpy(float)
    above = (np.sign(confidence[inside][:, None] - confidence[~inside]) + 1) / 2
    for those, axis in ((inside, 1), (~inside, 0)):
        if above.size:
            apart = above.mean(axis=axis) - above.mean()
            table.loc[those, "auroc"] = above.mean() + apart * len(results) / len(apart)
    return table


def without_alternatives(retriever: Retriever, queries: pd.DataFrame) -> dict[str, float]:
    """Return three measures of the same retriever without the entries' alternatives; none if there are none."""
    views = tuple(dict.fromkeys(view.replace("phrasings", "question") for view in retriever.config.views))
    if views == retriever.config.views or not any(faq.alternatives for faq in retriever.faqs):
        return {}
    config = retriever.config.with_changes(views=views)
    measures = per_query(evaluate(Retriever.build(retriever.faqs, config, encoder=retriever.encoder), queries)).mean()
    return {name: float(measures[name]) for name in ("hit@1", "right_at_once", "wrong_at_once")}


def by_kind(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per kind: `queries`, `hit@1`, `hit@3`, `mrr`, `two_turns` (NaN: out of scope), `answered`."""
    means = {name: (name, "mean") for name in ("hit@1", "hit@3", "mrr", "two_turns", "answered")}
    table = results.groupby("kind", sort=False).agg(queries=("id", "size"), **means)
    return table.sort_values(["hit@1", "answered"], ascending=False)


def result_counts(results: pd.DataFrame) -> pd.DataFrame:
    """Count the queries by `result`: a row each for `answerable` and `out of scope` if present, a column per result."""
    scope = np.where(results["answerable"], "answerable", "out of scope")
    counts = pd.crosstab(scope, results["result"].to_numpy())
    return counts.reindex(columns=list(RESULTS), fill_value=0).rename_axis(index=None, columns=None)


def result_shares(results: pd.DataFrame) -> pd.Series:
    """Return the shares of `RESULTS` among the answerable queries, and `answered` of the others; NaN where none."""
    inside, outside = results[results["answerable"]], results[~results["answerable"]]
    shares = {result: (inside["result"] == result).mean() for result in RESULTS}
    return pd.Series({**shares, "out of scope, answered": outside["answered"].mean()})


def outcomes(results: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of *answer*, *clarify* and *decline*: rows `answerable` and `out_of_scope`, NaN where none."""
    rows = {"answerable": results[results["answerable"]], "out_of_scope": results[~results["answerable"]]}
    shares = {name: [(of["outcome"] == outcome).mean() for outcome in Outcome] for name, of in rows.items()}
    return pd.DataFrame.from_dict(shares, orient="index", columns=[str(outcome) for outcome in Outcome])


def interval(values: Sequence[float] | pd.Series) -> tuple[float, ...]:
    """Return the mean of *values* and its 95% percentile bootstrap interval; NaN if there are too few."""
    mean = float(pd.Series(values, dtype=float).mean())
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    found = scipy.stats.bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=SEED)
    return mean, *map(float, found.confidence_interval)


def compare(results: pd.DataFrame, baseline: pd.DataFrame, measure: str = "hit@1") -> dict[str, float]:
    """
    Return the mean `difference` of two systems in the column *measure*, its interval, `low` to `high`, and `p`.

    p comes from a paired randomisation test (Smucker, Allan and Carterette, CIKM 2007). Queries with NaN don't count;
    if none counts, all four are NaN. ValueError if the two results are for different queries.
    """
    if list(results["id"]) != list(baseline["id"]):
        raise ValueError("the two results are for different queries")
    difference = results[measure].to_numpy(float) - baseline[measure].to_numpy(float)
    difference = difference[~np.isnan(difference)]
    value, low, high = interval(difference)
    # Swapping a pair flips the sign of its difference; equal pairs change nothing, so the test needs only the others.
    moved = difference[difference != 0]
    p = 1.0 if len(difference) else float("nan")
    if moved.size > 1:  # with a single pair p is 1, by symmetry, and SciPy raises an error
        test = scipy.stats.permutation_test((moved,), np.sum, permutation_type="samples", vectorized=True, rng=SEED)
        p = float(test.pvalue)
    return {"difference": value, "low": low, "high": high, "p": p}


def holm(p: pd.Series) -> pd.Series:
    """Return *p* corrected for the number of tests (Holm, 1979); NaN where there was none."""
    ordered = p.dropna().sort_values()
    return (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1).reindex(p.index)
