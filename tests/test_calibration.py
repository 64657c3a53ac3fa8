"""From labels to probabilities that come true, and to the thresholds that cost least."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from faqlab.calibration import Costs, Similarities, fit, min_cost_thresholds
from faqlab.decision import decide, probabilities
from faqlab.evaluation import decide_again, evaluate
from faqlab.retriever import Retriever


@pytest.fixture(scope="module")
def results(retriever: Retriever, queries: pd.DataFrame) -> pd.DataFrame:
    """Some of the committed queries, calibrated by hand."""
    calibrated = retriever.with_config(scale=15.0, null_cosine=0.5, decline_below=0.4, answer_from=0.5)
    return evaluate(calibrated, queries[::5].reset_index(drop=True))


def test_probabilities_are_a_softmax_with_one_class_more() -> None:
    p = probabilities(np.array([[0.9, 0.1], [0.5, 0.5]]), 10.0, 0.5)
    odds = np.exp([9, 1, 5])
    np.testing.assert_allclose(p[0], odds / odds.sum())
    np.testing.assert_allclose(p[1], [1 / 3, 1 / 3, 1 / 3])


def test_a_bonus_moves_probability_between_the_entries_alone() -> None:
    cosines, bonus = np.array([[0.6, 0.5, 0.1]]), np.array([[0.0, 0.2, 0.0]])
    before, after = (probabilities(cosines, 10.0, 0.4, b)[0] for b in (0.0, bonus))
    assert after[-1] == pytest.approx(before[-1])
    assert after.sum() == pytest.approx(1)
    odds = np.exp([6, 7, 1])
    np.testing.assert_allclose(after[:-1] / after[:-1].sum(), odds / odds.sum())


def test_very_large_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(probabilities(np.array([[1.0, -1.0]]), 1000.0, -1.0), [[1, 0, 0]])


@pytest.mark.parametrize(
    ("in_scope", "first", "outcome"),
    [(0.49, 0.49, "decline"), (0.5, 0.6, "answer"), (0.9, 0.59, "clarify"), (0.5, 0.5, "clarify")],
)
def test_two_thresholds_decide(in_scope: float, first: float, outcome: str) -> None:
    assert decide(in_scope, first, 0.5, 0.6)[0] == outcome


def test_the_fit_finds_the_numbers_that_the_labels_were_drawn_by() -> None:
    rng = np.random.default_rng(1)
    entries, asked = rng.normal(size=(30, 64)), rng.normal(size=(3000, 64))
    cosines = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (
        entries / np.linalg.norm(entries, axis=1, keepdims=True)
    ).T
    ngrams = rng.uniform(size=(3000, 30))
    p = probabilities(cosines, 12.0, 0.2, 0.3 * ngrams)
    right = np.zeros((3000, 31), bool)
    right[np.arange(3000), [rng.choice(31, p=row) for row in p]] = True
    scale, null_cosine, ngram_weight = fit([Similarities(cosines, ngrams, right)])
    assert scale == pytest.approx(12, rel=0.1)
    assert null_cosine == pytest.approx(0.2, abs=0.03)
    assert ngram_weight == pytest.approx(0.3, abs=0.03)


def test_fitted_probabilities_come_true_as_often_as_they_say(retriever: Retriever, queries: pd.DataFrame) -> None:
    some = queries[::3].reset_index(drop=True)
    scale, null_cosine, ngram_weight = fit([Similarities.of(retriever, some)])
    fitted = evaluate(retriever.with_config(scale=scale, null_cosine=null_cosine, ngram_weight=ngram_weight), some)
    assert fitted["first"].mean() == pytest.approx((fitted["hit@1"] == 1).mean(), abs=0.04)
    assert fitted["confidence"].mean() == pytest.approx(fitted["answerable"].mean(), abs=0.03)


def test_the_labels_of_the_similarities_are_entries_or_none_of_them(
    retriever: Retriever, queries: pd.DataFrame
) -> None:
    some = queries[:40]
    similarities = Similarities.of(retriever, some)
    assert similarities.cosines.shape == similarities.ngrams.shape == (40, len(retriever.faqs))
    assert similarities.right[:, -1].tolist() == (~some["answerable"]).tolist()
    assert similarities.right[:, :-1].sum(axis=1).tolist() == some["relevant"].map(len).tolist()


def test_each_result_has_its_cost() -> None:
    results = ["answered right", "clarified right", "clarified wrong", "answered wrong", "declined"]
    table = pd.DataFrame({"result": results + results[2:], "answerable": [True] * 5 + [False] * 3})
    assert Costs(wrong=3, clarify=0.5).of(table).tolist() == [0, 0.5, 1.5, 3, 1, 0.5, 3, 0]


def test_the_cheapest_thresholds_are_those_that_trying_all_finds(results: pd.DataFrame) -> None:
    costs = Costs(wrong=2.0, clarify=0.4)
    low, high, cost = min_cost_thresholds(results, costs)
    assert cost == pytest.approx(costs.of(decide_again(results, low, high)).mean())
    steps = np.arange(0, 1.01, 0.1).round(1)
    assert cost <= min(costs.of(decide_again(results, *pair)).mean() for pair in itertools.product(steps, steps)) + 1e-9


def test_dearer_mistakes_mean_fewer_answers_and_more_nonsense_means_more_refusals(results: pd.DataFrame) -> None:
    strict = [min_cost_thresholds(results, Costs(wrong=wrong))[:2] for wrong in (1, 2, 5)]
    answered = [decide_again(results, *limits)["answered"].mean() for limits in strict]
    assert answered[0] > answered[1] > answered[2]
    expected = [min_cost_thresholds(results, Costs(), share)[0] for share in (0.02, 0.9)]
    assert expected[0] < expected[1]


def test_the_share_out_of_scope_is_that_of_the_results_unless_another_is_given(results: pd.DataFrame) -> None:
    share = (~results["answerable"]).mean()
    assert min_cost_thresholds(results, Costs()) == pytest.approx(min_cost_thresholds(results, Costs(), share))
