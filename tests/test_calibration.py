"""From labels to probabilities that come true, and to thresholds within their limits."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faqlab.calibration import Limits, Similarities, fit, thresholds, tune
from faqlab.config import RetrievalConfig
from faqlab.decision import CONTENDERS, decide, p_right, scope_and_shares
from faqlab.evaluation import decide_again, evaluate, summarise
from faqlab.queries import load_domains
from faqlab.retriever import Retriever

CONFIG = RetrievalConfig(scale=10.0, scope_scale=8.0, null_cosine=0.5)


@pytest.fixture(scope="module")
def results(retriever: Retriever, queries: pd.DataFrame) -> pd.DataFrame:
    """Some of the committed queries, calibrated by hand."""
    calibrated = retriever.with_config(scale=15.0, null_cosine=0.5, decline_below=0.4, answer_from=0.5)
    return evaluate(calibrated, queries[::5].reset_index(drop=True))


def test_the_probabilities_are_those_of_the_formulas() -> None:
    similarities, bonus = np.array([0.6, 0.5, 0.1]), np.array([0.0, 0.05, 0.0])
    config = CONFIG.with_changes(topic_weight=0.5, scope_weight=0.7, share_weight=1.3, offset=-0.2)
    in_scope, shares = scope_and_shares(similarities, bonus, config)
    assert in_scope == pytest.approx(1 / (1 + np.exp(-8 * (0.6 + 0.5 * 0.4 - 0.5))))
    odds = np.exp(10 * (similarities + bonus))
    np.testing.assert_allclose(shares, odds / odds.sum())
    odds_of_right = (in_scope / (1 - in_scope)) ** 0.7 * np.exp(1.3 * 0.6 - 0.2)
    assert p_right(in_scope, 0.6, config) == pytest.approx(odds_of_right / (1 + odds_of_right))
    assert p_right(in_scope, 0.6, CONFIG) == pytest.approx(in_scope * 0.6)


def test_only_the_best_entries_share_the_probability_so_more_entries_take_nothing_from_them() -> None:
    best = np.linspace(0.7, 0.5, CONTENDERS)
    few, many = (
        scope_and_shares(of, np.zeros(len(of)), CONFIG) for of in (best, np.concatenate([best, np.full(1000, 0.4)]))
    )
    assert few[0] == pytest.approx(many[0])
    np.testing.assert_allclose(many[1][:CONTENDERS], few[1])
    assert not many[1][CONTENDERS:].any()


def test_very_large_logits_do_not_overflow() -> None:
    config = RetrievalConfig(scale=1000.0, scope_scale=1000.0, null_cosine=-1.0, share_weight=2.0)
    with warnings.catch_warnings(action="error"):
        in_scope, shares = scope_and_shares(np.array([1.0, -1.0]), np.zeros(2), config)
        assert (in_scope, shares.tolist()) == (1, [1, 0])
        assert p_right(in_scope, 1.0, config) == pytest.approx(1)
        in_scope, _ = scope_and_shares(np.array([-1.0, -1.0]), np.zeros(2), config.with_changes(null_cosine=1.0))
        assert in_scope == 0
        assert p_right(in_scope, 1.0, config) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("in_scope", "first", "outcome"),
    [(0.49, 0.49, "decline"), (0.5, 0.6, "answer"), (0.9, 0.59, "clarify"), (0.5, 0.5, "clarify")],
)
def test_two_thresholds_decide(in_scope: float, first: float, outcome: str) -> None:
    assert decide(in_scope, first, 0.5, 0.6)[0] == outcome


def test_the_fit_finds_the_numbers_that_the_labels_were_drawn_by() -> None:
    rng = np.random.default_rng(1)
    true = RetrievalConfig(scale=12.0, ngram_weight=0.3, scope_scale=10.0, topic_weight=0.5, null_cosine=0.4)
    topics, ngrams = rng.uniform(-0.2, 0.3, size=(6000, 1)), rng.uniform(size=(6000, 6))
    cosines = topics + rng.uniform(0, 0.5, size=(6000, 6))
    right = np.zeros((6000, 6), bool)
    for row in range(6000):
        order = np.argsort(-(cosines[row] + true.ngram_weight * ngrams[row]))
        in_scope, shares = scope_and_shares(cosines[row, order], true.ngram_weight * ngrams[row, order], true)
        if rng.uniform() < in_scope:
            right[row, rng.choice(order, p=shares)] = True
    found = fit([Similarities(cosines, ngrams, right)])
    fitted = true.with_changes(**found)
    of_right = ["scope_weight", "share_weight", "offset"]
    assert list(found) == ["scale", "ngram_weight", "scope_scale", "topic_weight", "null_cosine", *of_right]
    for row in range(200):
        (expected, _), (in_scope, _) = (scope_and_shares(cosines[row], ngrams[row], of) for of in (true, fitted))
        assert in_scope == pytest.approx(expected, abs=0.08)
    for name in ("scale", "ngram_weight"):
        assert found[name] == pytest.approx(getattr(true, name), rel=0.15), name


def test_fitted_probabilities_come_true_as_often_as_they_say(retriever: Retriever, queries: pd.DataFrame) -> None:
    some = queries[::3].reset_index(drop=True)
    fitted = evaluate(retriever.with_config(**fit([Similarities.of(retriever, some)])), some)
    assert fitted["first"].mean() == pytest.approx((fitted["hit@1"] == 1).mean(), abs=0.06)
    assert fitted["confidence"].mean() == pytest.approx(fitted["answerable"].mean(), abs=0.03)


def test_the_labels_of_the_similarities_are_entries(retriever: Retriever, queries: pd.DataFrame) -> None:
    some = queries[:40]
    similarities = Similarities.of(retriever, some)
    assert similarities.cosines.shape == similarities.ngrams.shape == (40, len(retriever.faqs))
    assert similarities.right.sum(axis=1).tolist() == some["relevant"].map(len).tolist()


@pytest.mark.parametrize("limits", [Limits(), Limits(wrong=0.2, false=0.3, declined=0.02), Limits(wrong=0.01)])
def test_the_thresholds_keep_within_the_limits_and_the_next_ones_do_not(results: pd.DataFrame, limits: Limits) -> None:
    def shares(decline_below: float, answer_from: float) -> tuple[float, float, float]:
        summary = summarise(decide_again(results, decline_below, answer_from))["value"]
        inside = decide_again(results, decline_below, 0)[results["answerable"]]
        return summary["wrong_at_once"], summary["false_answer_rate"], (inside["outcome"] == "decline").mean()

    found = thresholds(results, limits)
    low, high = found["decline_below"], found["answer_from"]
    wrong, false, _ = shares(0, high)
    assert wrong <= limits.wrong and false <= limits.false
    wrong, false, _ = shares(0, high - 0.01)
    assert wrong > limits.wrong or false > limits.false
    assert shares(low, high)[2] <= limits.declined < shares(low + 0.01, high)[2]


def test_if_no_threshold_keeps_within_the_limits_next_to_nothing_is_answered(results: pd.DataFrame) -> None:
    certain = results.assign(first=1.0)
    assert thresholds(certain, Limits(wrong=0.0))["answer_from"] == 1


def test_tuning_finds_all_numbers_on_the_own_faq_and_the_others(
    retriever: Retriever, queries: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = dict(list(load_domains(Path("data/training/validation")).items())[:1])
    monkeypatch.setattr("faqlab.calibration.load_domains", lambda folder: others)
    some = queries[::4].reset_index(drop=True)
    config, results = tune(retriever.with_config(ngram_weight=0.2), some)
    assert list(results) == ["this FAQ", *others]
    assert config.scale and 0 < config.answer_from <= 1 and config.views == retriever.config.views
    pooled = pd.concat(results.values())
    assert (pooled.loc[pooled["answerable"], "result"] == "answered wrong").mean() <= Limits().wrong
    assert {"answered right", "declined"} <= set(results["this FAQ"]["result"])
