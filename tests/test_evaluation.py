"""The measures are those of the field: held against cases worked by hand, brute force and scikit-learn."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL
from sklearn.metrics import roc_auc_score

from faqlab import evaluation
from faqlab.evaluation import (
    by_kind,
    compare,
    evaluate,
    evaluate_bm25,
    evaluate_chance,
    false_answer_rate_at,
    hit_curve,
    interval,
    judge,
    summarise,
    threshold_curve,
)
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Retriever

FAQS = FaqSet(tuple(Faq(name, question, answer) for name, (question, answer) in zip("abcd", SMALL, strict=True)))


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A mean of nothing, a division by zero and what is deprecated are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def labelled(*rows: tuple[str, ...], kind: str = "paraphrase") -> pd.DataFrame:
    """Queries from (text, id, id …)."""
    table = pd.DataFrame({"id": [f"q{n}" for n in range(len(rows))], "query": [row[0] for row in rows]})
    table["relevant"] = [row[1:] for row in rows]
    table["kind"] = [kind if row[1:] else "near_out_of_scope" for row in rows]
    table["split"] = ""
    table["answerable"] = [bool(row[1:]) for row in rows]
    return table


def rows(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples())


BY_HAND = labelled(("second is right", "b"), ("two are right", "a", "c"), ("fourth", "d"), ("none", "x"), ("out",))
RANKED = [tuple("abc"), tuple("abc"), tuple("abcd"), tuple("abc"), tuple("cab")]


@pytest.fixture
def results() -> pd.DataFrame:
    """Eight answerable and four out-of-scope queries with ties in their confidence."""
    queries = labelled(*[(f"in {n}", "a") for n in range(8)], *[(f"out {n}",) for n in range(4)])
    ranked = [("a", "b", "c")] * 5 + [("b", "a", "c")] * 2 + [("b", "c", "a")] + [("a", "b", "c")] * 4
    confidence = np.array([0.9, 0.8, 0.8, 0.7, 0.5, 0.6, 0.4, 0.3, 0.8, 0.45, 0.2, 0.1])
    judged = judge(queries, ranked, confidence)
    judged["squared_l2"] = 2 - 2 * confidence
    return judged


def test_the_measures_of_a_query_are_those_worked_out_by_hand() -> None:
    judged = judge(BY_HAND, RANKED, np.arange(5.0))
    nan = float("nan")
    both = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    expected = {
        "hit@1": [0, 1, 0, 0, nan],
        "hit@3": [1, 1, 0, 0, nan],
        "mrr": [1 / 2, 1, 1 / 4, 0, nan],
        "ndcg@10": [1 / math.log2(3), both, 1 / math.log2(5), 0, nan],
        "recall@3": [1, 1, 0, 0, nan],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(judged[name].to_numpy(float), values, atol=1e-9, err_msg=name)


def test_recall_counts_every_relevant_entry_and_hit_only_one() -> None:
    judged = judge(labelled(("two", "a", "d")), [tuple("abcd")], np.zeros(1))
    assert (judged["hit@3"][0], judged["recall@3"][0]) == (1, 0.5)


def test_hit_at_k_is_the_share_of_queries_with_a_relevant_entry_among_the_first_k(
    retriever: Retriever, queries: pd.DataFrame
) -> None:
    judged = evaluate(retriever, queries[::5].reset_index(drop=True))
    answerable = judged[judged["answerable"]]
    for row in rows(hit_curve(judged)):
        hits = [
            bool(set(ranked[: row.top_k]) & set(relevant))
            for ranked, relevant in zip(answerable["ranked"], answerable["relevant"], strict=True)
        ]
        assert row.value == pytest.approx(np.mean(hits))
        assert row.low <= row.value <= row.high
    curve = hit_curve(judged)
    assert curve["top_k"].tolist() == list(range(1, 11))
    assert curve["value"].is_monotonic_increasing
    summary = summarise(judged)
    assert curve["value"][0] == summary.loc["hit@1", "value"]
    assert curve["value"][2] == summary.loc["hit@3", "value"]


def test_evaluation_ranks_and_decides_as_the_retriever_does(retriever: Retriever, queries: pd.DataFrame) -> None:
    strict = retriever.with_config(scale=20.0, none=0.5, decline_below=0.5, answer_from=0.6)
    some = queries[::40].reset_index(drop=True)
    for row in rows(evaluate(strict, some)):
        answer = strict.answer(row.query)
        assert list(row.ranked[:3]) == [hit.faq.id for hit in answer.hits]
        assert len(row.ranked) == len(set(row.ranked)) == len(retriever.faqs)
        assert row.answered == answer.answered
        assert row.outcome == answer.outcome
        assert row.confidence == pytest.approx(answer.confidence, abs=1e-5)
        assert row.squared_l2 == pytest.approx(answer.hits[0].squared_l2, abs=1e-5)


def test_answer_rates_are_shares_of_the_answerable_and_of_the_out_of_scope_queries(results: pd.DataFrame) -> None:
    results["answered"] = results["confidence"] >= 0.5
    summary = summarise(results)
    assert summary.loc["answer_rate", "value"] == 6 / 8
    assert summary.loc["false_answer_rate", "value"] == 1 / 4


def test_auroc_is_scikit_learns_with_ties_counted_half(results: pd.DataFrame) -> None:
    expected = roc_auc_score(results["answerable"], results["confidence"])
    value, low, high = map(float, summarise(results).loc["auroc"])
    assert value == pytest.approx(expected)
    assert low <= value <= high


def test_auroc_of_confidences_that_say_nothing_is_a_half(results: pd.DataFrame) -> None:
    results["confidence"] = 1.0
    assert tuple(summarise(results).loc["auroc"]) == (0.5, 0.5, 0.5)


def test_an_interval_contains_its_value_and_is_the_same_at_each_call() -> None:
    values = np.random.default_rng(0).random(100)
    value, low, high = interval(values)
    assert value == pytest.approx(values.mean())
    assert low < value < high
    assert interval(values) == (value, low, high)


def test_an_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    hits = np.repeat([1.0, 0.0], [320, 80])
    value, low, high = interval(hits)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(value * (1 - value) / 400), rel=0.15)


def test_an_interval_of_nothing_is_nan_and_of_one_value_is_that_value() -> None:
    assert np.isnan(interval(np.array([]))).all()
    assert interval(np.array([0.25])) == (0.25, 0.25, 0.25)


def test_every_interval_of_a_summary_contains_its_value(retriever: Retriever, queries: pd.DataFrame) -> None:
    summary = summarise(
        evaluate(retriever.with_config(scale=20.0, none=0.5, decline_below=0.5), queries[::5].reset_index(drop=True))
    )
    assert list(summary.index) == [
        *evaluation.MEASURES,
        "two_turn_success",
        "answer_rate",
        "false_answer_rate",
        "auroc",
    ]
    assert (summary["low"] <= summary["value"]).all()
    assert (summary["value"] <= summary["high"]).all()


def test_a_configuration_does_not_differ_from_itself(results: pd.DataFrame) -> None:
    assert compare(results, results) == {"difference": 0, "low": 0, "high": 0, "p": 1}


def test_a_clear_difference_has_a_small_p_and_an_interval_on_its_side(results: pd.DataFrame) -> None:
    queries = labelled(*[(f"q {n}", "a") for n in range(40)])
    right = judge(queries, [("a", "b")] * 40, np.zeros(40))
    wrong = judge(queries, [("b", "a")] * 40, np.zeros(40))
    better = compare(right, wrong)
    assert (better["difference"], better["low"], better["high"]) == (1, 1, 1)
    assert better["p"] < 0.001
    worse = compare(wrong, right)
    assert (worse["difference"], worse["p"]) == (-1, better["p"])
    assert compare(right, wrong, "mrr")["difference"] == 0.5


def test_p_is_the_share_of_all_signs_that_are_as_far_from_0() -> None:
    queries = labelled(*[(f"q {n}", "a") for n in range(9)])
    first = judge(queries, [("a", "b")] * 7 + [("b", "a")] * 2, np.zeros(9))
    second = judge(queries, [("b", "a")] * 6 + [("a", "b")] * 3, np.zeros(9))
    differences = (first["hit@1"] - second["hit@1"]).to_numpy()
    signs = np.array(list(itertools.product([-1, 1], repeat=9)))
    exact = (np.abs((signs * differences).mean(axis=1)) >= abs(differences.mean()) - 1e-12).mean()
    assert 0.01 < exact < 0.5
    assert compare(first, second)["p"] == pytest.approx(exact, abs=0.015)


def test_results_of_different_queries_are_not_compared(results: pd.DataFrame) -> None:
    for other in (results[1:], results[::-1], results.assign(id=[f"x{n}" for n in range(len(results))])):
        with pytest.raises(ValueError, match="the two results are of different queries"):
            compare(results, other)


def test_nothing_to_compare_is_no_evidence(results: pd.DataFrame) -> None:
    outside = results[~results["answerable"]].reset_index(drop=True)
    assert all(math.isnan(value) for value in compare(outside, outside).values())


def test_a_threshold_curve_is_what_each_threshold_would_do(results: pd.DataFrame) -> None:
    curve = threshold_curve(results)
    assert len(curve) == len(results)
    inside, outside = results[results["answerable"]], results[~results["answerable"]]
    for row in rows(curve):

        def passed(table: pd.DataFrame, threshold: float = row.threshold) -> pd.Series:
            return table["confidence"] >= threshold

        assert row.answer_rate == pytest.approx(passed(inside).mean())
        assert row.right_rate == pytest.approx((passed(inside) & (inside["hit@1"] == 1)).mean())
        assert row.false_answer_rate == pytest.approx(passed(outside).mean())
    assert curve["answer_rate"].is_monotonic_increasing
    assert curve["answer_rate"].iloc[-1] == curve["false_answer_rate"].iloc[-1] == 1


def test_the_false_answer_rate_is_told_at_the_strictest_threshold_that_answers_enough(results: pd.DataFrame) -> None:
    # Confidences of the answerable: .9 .8 .8 .7 .6 .5 .4 .3; out of scope: .8 .45 .2 .1.
    assert false_answer_rate_at(results, 1 / 8) == 0  # at .9
    assert false_answer_rate_at(results, 2 / 8) == 1 / 4  # at .8, where one out-of-scope query passes
    assert false_answer_rate_at(results, 6 / 8) == 1 / 4  # at .5
    assert false_answer_rate_at(results, 7 / 8) == 2 / 4  # at .4
    assert false_answer_rate_at(results, 1) == 2 / 4  # at .3


def test_without_out_of_scope_queries_their_measures_are_nan_and_the_others_stand(results: pd.DataFrame) -> None:
    inside = results[results["answerable"]].reset_index(drop=True)
    summary = summarise(inside)
    assert summary.loc[["false_answer_rate", "auroc"]].isna().all(axis=None)
    assert summary.drop(["false_answer_rate", "auroc"]).notna().all(axis=None)
    assert threshold_curve(inside)["false_answer_rate"].isna().all()
    assert math.isnan(false_answer_rate_at(inside))


def test_with_out_of_scope_queries_only_their_rate_stands_and_the_others_are_nan() -> None:
    outside = judge(labelled(("out",), ("far",)), [tuple("ab"), tuple("ba")], np.array([0.3, 0.2]))
    summary = summarise(outside)
    assert tuple(summary.loc["false_answer_rate"]) == (1, 1, 1)
    assert summary.drop("false_answer_rate").isna().all(axis=None)
    assert hit_curve(outside)["value"].isna().all()
    assert math.isnan(false_answer_rate_at(outside))
    assert by_kind(outside).loc["near_out_of_scope", "queries"] == 2
    assert threshold_curve(outside)["false_answer_rate"].tolist() == [0.5, 1]


def test_the_table_by_kind_has_each_kinds_own_means(results: pd.DataFrame) -> None:
    results.loc[:3, "kind"] = "typo"
    results["answered"] = results["confidence"] >= 0.75
    table = by_kind(results)
    assert table["queries"].to_dict() == {"typo": 4, "paraphrase": 4, "near_out_of_scope": 4}
    assert table["hit@1"].to_dict() == pytest.approx(
        {"typo": 1, "paraphrase": 1 / 4, "near_out_of_scope": float("nan")}, nan_ok=True
    )
    assert table["answered"].to_dict() == {"typo": 3 / 4, "paraphrase": 0, "near_out_of_scope": 1 / 4}
    assert list(table.index) == ["typo", "paraphrase", "near_out_of_scope"]


def test_each_way_to_fail_has_its_cause_and_what_ends_well_has_none() -> None:
    table = labelled(*(("asked", "a"),) * 7, *(("outside",),) * 3)
    table["outcome"] = ["answer"] * 2 + ["ask_back"] * 2 + ["decline"] * 3 + ["answer", "ask_back", "decline"]
    table["hit@1"] = [1, 0, 0, 0, 1, 0, 0] + [np.nan] * 3
    table["choice_right"] = [False, False, True, False, False, False, True] + [False] * 3
    assert [cause[:1] for cause in evaluation.causes(table)] == ["", "1", "", "3", "5", "6", "6", "2", "4", ""]


def test_bm25_finds_what_shares_rare_words_with_the_query() -> None:
    queries = labelled(("shoes return", "c"), ("which countries abroad", "d"), ("card", "b"))
    judged = evaluate_bm25(FAQS, queries)
    assert judged["hit@1"].tolist() == [1, 1, 1]
    assert judged["answered"].all()
    assert all(sorted(ranked) == list("abcd") for ranked in judged["ranked"])


@pytest.mark.parametrize("query", ["is it the a of", "zzzz", "🎉", "我的包裹"])
def test_bm25_ranks_in_file_order_and_with_no_confidence_where_no_word_counts(query: str) -> None:
    judged = evaluate_bm25(FAQS, labelled((query, "a"), ("card", "b")))
    assert judged["ranked"][0] == tuple("abcd")
    assert judged["confidence"][0] == 0
    assert judged["hit@1"][1] == 1


def test_bm25_over_an_faq_of_stop_words_finds_nothing_and_says_so_in_its_confidence() -> None:
    faqs = FaqSet((Faq("a", "Is it?", "It is."), Faq("b", "Was it?", "It was.")))
    judged = evaluate_bm25(faqs, labelled(("parcel", "a")))
    assert judged["confidence"].tolist() == [0]


def test_chance_finds_the_right_one_of_four_a_quarter_of_the_time() -> None:
    judged = evaluate_chance(FAQS, labelled(*[(f"q {n}", "a") for n in range(400)]))
    assert judged["hit@1"].mean() == pytest.approx(0.25, abs=0.07)
    assert judged["hit@3"].mean() == pytest.approx(0.75, abs=0.07)


def test_evaluation_leaves_the_queries_as_they_were(retriever: Retriever, queries: pd.DataFrame) -> None:
    before = queries[:5].copy()
    given = queries[:5].copy()
    evaluate(retriever, given)
    pd.testing.assert_frame_equal(given, before)
