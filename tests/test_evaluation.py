"""Measures and tests agree with cases worked by hand, brute force and scikit-learn."""

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

from benchmarks.bm25 import evaluate_bm25
from faqlab import evaluation
from faqlab.evaluation import (
    RESULTS,
    by_kind,
    compare,
    decide_again,
    evaluate,
    interval,
    judge,
    outcomes,
    result_counts,
    summarise,
)
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Retriever

FAQS = FaqSet(tuple(Faq(name, question, answer) for name, (question, answer) in zip("abcd", SMALL, strict=True)))
NAN = float("nan")


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A mean of nothing and a division by zero are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def labelled(*rows: tuple[str, ...]) -> pd.DataFrame:
    """Queries from (text, id, id …)."""
    table = pd.DataFrame({"id": [f"q{n}" for n in range(len(rows))], "query": [row[0] for row in rows]})
    table["relevant"] = [row[1:] for row in rows]
    table["answerable"] = [bool(row[1:]) for row in rows]
    return table.assign(kind=np.where(table["answerable"], "paraphrase", "near_out_of_scope"), split="")


@pytest.fixture
def results() -> pd.DataFrame:
    """Eight answerable and four out-of-scope queries with ties in their confidence."""
    queries = labelled(*[(f"in {n}", "a") for n in range(8)], *[(f"out {n}",) for n in range(4)])
    ranked = [("a", "b", "c")] * 5 + [("b", "a", "c")] * 2 + [("b", "c", "a")] + [("a", "b", "c")] * 4
    return judge(queries, ranked, np.array([0.9, 0.8, 0.8, 0.7, 0.5, 0.6, 0.4, 0.3, 0.8, 0.45, 0.2, 0.1]))


@pytest.fixture(scope="module")
def decided(retriever: Retriever, queries: pd.DataFrame) -> pd.DataFrame:
    """Some of the committed queries, by a retriever that answers, clarifies and declines."""
    calibrated = retriever.with_config(scale=15.0, null_cosine=0.5, decline_below=0.4, answer_from=0.5)
    return evaluate(calibrated, queries[::9].reset_index(drop=True))


def test_the_measures_of_a_query_are_those_worked_out_by_hand() -> None:
    queries = labelled(("second is right", "b"), ("two are right", "a", "c"), ("fourth", "d"), ("none", "x"), ("out",))
    judged = judge(queries, [tuple("abc"), tuple("abc"), tuple("abcd"), tuple("abc"), tuple("cab")], np.arange(5.0))
    both = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    expected = {
        "hit@1": [0, 1, 0, 0, NAN],
        "hit@3": [1, 1, 0, 0, NAN],
        "mrr": [1 / 2, 1, 1 / 4, 0, NAN],
        "ndcg@10": [1 / math.log2(3), both, 1 / math.log2(5), 0, NAN],
        "recall@3": [1, 1, 0, 0, NAN],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(judged[name].to_numpy(float), values, atol=1e-9, err_msg=name)


def test_recall_counts_every_relevant_entry_and_hit_only_one() -> None:
    judged = judge(labelled(("two", "a", "d")), [tuple("abcd")], np.zeros(1))
    assert (judged["hit@3"][0], judged["recall@3"][0]) == (1, 0.5)


def test_evaluation_ranks_and_decides_as_the_retriever_does(retriever: Retriever, decided: pd.DataFrame) -> None:
    calibrated = retriever.with_config(scale=15.0, null_cosine=0.5, decline_below=0.4, answer_from=0.5)
    rows: list[Any] = list(decided[::4].itertuples())
    for row in rows:
        answer = calibrated.answer(row.query)
        assert list(row.ranked[:3]) == [hit.faq.id for hit in answer.hits[:3]]
        assert (row.outcome, row.reason, row.answered) == (answer.outcome, answer.reason, answer.answered)
        assert row.confidence == pytest.approx(answer.confidence, abs=1e-5)
        assert row.first == pytest.approx(answer.hits[0].score, abs=1e-5)
        assert row.squared_l2 == pytest.approx(answer.hits[0].squared_l2, abs=1e-5)
    assert set(decided["outcome"]) == {"answer", "clarify", "decline"}


def test_evaluation_leaves_the_queries_as_they_were(retriever: Retriever, queries: pd.DataFrame) -> None:
    given = queries[:3].copy()
    evaluate(retriever, given)
    pd.testing.assert_frame_equal(given, queries[:3])


def test_each_query_has_one_result_and_only_the_right_ones_succeed_in_two_turns() -> None:
    queries = labelled(*(("in", "a"),) * 5, *(("out",),) * 3)
    judged = judge(queries, [tuple("ab")] * 8, np.zeros(8)).assign(
        outcome=["answer", "answer", "clarify", "clarify", "decline", "answer", "clarify", "decline"],
        choice_right=[False, False, True, False, True, False, False, False],
    )
    judged.loc[1, "hit@1"] = 0.0
    judged = evaluation._with_results(judged)
    right, wrong, clarified_right, clarified_wrong, declined = (RESULTS[n] for n in (0, 3, 1, 2, 4))
    expected = [right, wrong, clarified_right, clarified_wrong, declined, wrong, clarified_wrong, declined]
    assert judged["result"].tolist() == expected
    assert judged["two_turns"].tolist()[:5] == [1, 0, 1, 0, 0]
    assert judged["two_turns"][5:].isna().all()


def test_counts_and_shares_add_up_to_the_queries(decided: pd.DataFrame) -> None:
    counts = result_counts(decided)
    assert list(counts) == list(RESULTS)
    assert counts.sum(axis=1).to_dict() == {
        "answerable": decided["answerable"].sum(),
        "out of scope": (~decided["answerable"]).sum(),
    }
    assert outcomes(decided).sum(axis=1).tolist() == pytest.approx([1, 1])
    summary = summarise(decided)["value"]
    assert summary["right_at_once"] + summary["wrong_at_once"] == pytest.approx(summary["answer_rate"])


def test_deciding_again_is_deciding_so_in_the_first_place(retriever: Retriever, decided: pd.DataFrame) -> None:
    stricter = retriever.with_config(scale=15.0, null_cosine=0.5, decline_below=0.7, answer_from=0.8)
    columns = ["id", "query", "relevant", "kind", "split", "answerable"]
    before = decided["outcome"].copy()
    again = decide_again(decided, decline_below=0.7, answer_from=0.8)
    pd.testing.assert_frame_equal(again, evaluate(stricter, decided[columns]))
    assert decided["outcome"].equals(before)
    assert not again["outcome"].equals(before)


def test_a_query_without_words_stays_declined(retriever: Retriever) -> None:
    calibrated = retriever.with_config(scale=15.0, null_cosine=0.5, decline_below=0.4, answer_from=0.5)
    results = evaluate(calibrated, labelled(("???",)))
    assert decide_again(results, decline_below=0, answer_from=0)["reason"].tolist() == ["no_words"]


def test_answer_rates_are_shares_of_the_answerable_and_of_the_out_of_scope_queries(results: pd.DataFrame) -> None:
    results["answered"] = results["confidence"] >= 0.5
    summary = summarise(results)["value"]
    assert (summary["answer_rate"], summary["false_answer_rate"]) == (6 / 8, 1 / 4)


def test_auroc_is_scikit_learns_with_ties_counting_half(results: pd.DataFrame) -> None:
    value, low, high = summarise(results).loc["auroc"].tolist()
    assert value == pytest.approx(roc_auc_score(results["answerable"], results["confidence"]))
    assert low <= value <= high
    assert summarise(results.assign(confidence=1.0)).loc["auroc"].tolist() == [0.5, 0.5, 0.5]


def test_what_cannot_be_measured_is_nan_and_the_rest_stands(results: pd.DataFrame) -> None:
    inside = results[results["answerable"]].reset_index(drop=True)
    summary = summarise(inside)
    assert summary.loc[["false_answer_rate", "auroc"]].isna().all(axis=None)
    assert summary.drop(["false_answer_rate", "auroc"]).notna().all(axis=None)
    outside = judge(labelled(("out",), ("far",)), [tuple("ab"), tuple("ba")], np.array([0.3, 0.2]))
    summary = summarise(outside)
    assert summary.loc["false_answer_rate"].tolist() == [1, 1, 1]
    assert evaluation.result_shares(outside).dropna().to_dict() == {"out of scope, answered": 1}
    assert summary.drop("false_answer_rate").isna().all(axis=None)
    assert all(math.isnan(value) for value in compare(outside, outside).values())


def test_every_interval_contains_its_value_and_is_the_same_at_each_call(decided: pd.DataFrame) -> None:
    summary = summarise(decided)
    assert (summary["low"] <= summary["value"]).all()
    assert (summary["value"] <= summary["high"]).all()
    pd.testing.assert_frame_equal(summary, summarise(decided))


def test_an_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    value, low, high = interval(np.repeat([1.0, 0.0], [320, 80]))
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(value * (1 - value) / 400), rel=0.15)


def test_an_interval_of_nothing_is_nan_and_one_value_has_no_limits() -> None:
    assert np.isnan(interval([])).all()
    value, *limits = interval([0.25])
    assert value == 0.25 and np.isnan(limits).all()


def test_a_system_does_not_differ_from_itself(results: pd.DataFrame) -> None:
    assert compare(results, results) == {"difference": 0, "low": 0, "high": 0, "p": 1}


def test_a_clear_difference_has_a_small_p_and_an_interval_on_its_side() -> None:
    queries = labelled(*[(f"q {n}", "a") for n in range(40)])
    right, wrong = (judge(queries, [order] * 40, np.zeros(40)) for order in (("a", "b"), ("b", "a")))
    better, worse = compare(right, wrong), compare(wrong, right)
    assert (better["difference"], better["low"], better["high"]) == (1, 1, 1)
    assert better["p"] == worse["p"] < 0.001
    assert worse["difference"] == -1
    assert compare(right, wrong, "mrr")["difference"] == 0.5


def test_p_is_the_share_of_all_signs_that_are_as_far_from_0() -> None:
    queries = labelled(*[(f"q {n}", "a") for n in range(9)])
    first = judge(queries, [("a", "b")] * 7 + [("b", "a")] * 2, np.zeros(9))
    second = judge(queries, [("b", "a")] * 6 + [("a", "b")] * 3, np.zeros(9))
    differences = (first["hit@1"] - second["hit@1"]).to_numpy()
    signs = np.array(list(itertools.product([-1, 1], repeat=9)))
    exact = (np.abs((signs * differences).mean(axis=1)) >= abs(differences.mean()) - 1e-12).mean()
    assert compare(first, second)["p"] == pytest.approx(exact)


def test_results_of_different_queries_are_not_compared(results: pd.DataFrame) -> None:
    for other in (results[1:], results[::-1], results.assign(id=[f"x{n}" for n in range(len(results))])):
        with pytest.raises(ValueError, match="the two results are for different queries"):
            compare(results, other)


def test_the_table_by_kind_has_each_kinds_means(results: pd.DataFrame) -> None:
    results.loc[:3, "kind"] = "typo"
    table = by_kind(results.assign(answered=results["confidence"] >= 0.75))
    assert list(table.index) == ["typo", "paraphrase", "near_out_of_scope"]
    assert table["queries"].tolist() == [4, 4, 4]
    assert table["hit@1"].tolist() == pytest.approx([1, 1 / 4, NAN], nan_ok=True)
    assert table["answered"].tolist() == [3 / 4, 0, 1 / 4]


def test_bm25_finds_what_shares_rare_words_with_the_query() -> None:
    judged = evaluate_bm25(FAQS, labelled(("shoes return", "c"), ("which countries abroad", "d"), ("card", "b")))
    assert judged["hit@1"].tolist() == [1, 1, 1]
    assert judged["answered"].all()
    assert all(sorted(ranked) == list("abcd") for ranked in judged["ranked"])


@pytest.mark.parametrize("query", ["is it the a of", "zzzz", "🎉", "我的包裹"])
def test_bm25_ranks_in_file_order_and_with_no_confidence_where_no_word_counts(query: str) -> None:
    judged = evaluate_bm25(FAQS, labelled((query, "a"), ("card", "b")))
    assert judged["ranked"][0] == tuple("abcd")
    assert judged["confidence"][0] == 0
    assert judged["hit@1"][1] == 1


def test_bm25_searches_alternatives_too() -> None:
    faqs = FaqSet((Faq("a", "Pay?", "By card."), Faq("b", "Post?", "Daily.", alternatives=("Any couriers?",))))
    assert evaluate_bm25(faqs, labelled(("couriers", "b")))["hit@1"].tolist() == [1]


def test_bm25_over_an_faq_of_stop_words_has_no_confidence() -> None:
    faqs = FaqSet((Faq("a", "Is it?", "It is."), Faq("b", "Was it?", "It was.")))
    assert evaluate_bm25(faqs, labelled(("parcel", "a")))["confidence"].tolist() == [0]
