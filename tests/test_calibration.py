"""From labels to probabilities that come true, and to thresholds within their limits."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faqlab.calibration import Limits, Similarities, fit, thresholds, tune
from faqlab.config import RetrievalConfig
from faqlab.decision import CONTENDERS, decide, probabilities
from faqlab.evaluation import decide_again, evaluate, result_shares
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
    in_scope, p = probabilities(similarities, bonus, CONFIG.with_changes(topic_weight=0.5))
    assert in_scope == pytest.approx(1 / (1 + np.exp(-8 * (0.6 + 0.5 * 0.4 - 0.5))))
    odds = np.exp(10 * (similarities + bonus))
    np.testing.assert_allclose(p, in_scope * odds / odds.sum())


def test_only_the_best_entries_share_the_probability_so_more_entries_take_nothing_from_them() -> None:
    best = np.linspace(0.7, 0.5, CONTENDERS)
    few, many = (
        probabilities(of, np.zeros(len(of)), CONFIG) for of in (best, np.concatenate([best, np.full(1000, 0.4)]))
    )
    assert few[0] == pytest.approx(many[0])
    np.testing.assert_allclose(many[1][:CONTENDERS], few[1])
    assert not many[1][CONTENDERS:].any()


def test_very_large_logits_do_not_overflow() -> None:
    config = RetrievalConfig(scale=1000.0, scope_scale=1000.0, null_cosine=-1.0)
    in_scope, p = probabilities(np.array([1.0, -1.0]), np.zeros(2), config)
    assert (in_scope, p.tolist()) == (1, [1, 0])
    with warnings.catch_warnings(action="error"):
        in_scope, _ = probabilities(np.array([-1.0, -1.0]), np.zeros(2), config.with_changes(null_cosine=1.0))
    assert in_scope == 0


@pytest.mark.parametrize(
    ("in_scope", "first", "outcome"),
    [(0.49, 0.49, "decline"), (0.7, 0.6, "answer"), (0.9, 0.59, "clarify"), (0.69, 0.6, "clarify")],
)
def test_three_thresholds_decide(in_scope: float, first: float, outcome: str) -> None:
    assert decide(in_scope, first, 0.5, answer_from=0.6, scope_from=0.7)[0] == outcome


def test_the_fit_finds_the_numbers_that_the_labels_were_drawn_by() -> None:
    rng = np.random.default_rng(1)
    true = RetrievalConfig(scale=12.0, ngram_weight=0.3, scope_scale=10.0, topic_weight=0.5, null_cosine=0.4)
    topics, ngrams = rng.uniform(-0.2, 0.3, size=(6000, 1)), rng.uniform(size=(6000, 6))
    cosines = topics + rng.uniform(0, 0.5, size=(6000, 6))
    right = np.zeros((6000, 6), bool)
    for row in range(6000):
        order = np.argsort(-(cosines[row] + true.ngram_weight * ngrams[row]))
        in_scope, p = probabilities(cosines[row, order], true.ngram_weight * ngrams[row, order], true)
        if rng.uniform() < in_scope:
            right[row, rng.choice(order, p=p / p.sum())] = True
    found = fit([Similarities(cosines, ngrams, right)])
    fitted = true.with_changes(**found)
    assert list(found) == ["scale", "ngram_weight", "scope_scale", "topic_weight", "null_cosine"]
    for row in range(200):
        (expected, _), (in_scope, _) = (probabilities(cosines[row], ngrams[row], of) for of in (true, fitted))
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
def test_the_thresholds_keep_within_the_limits_and_no_others_answer_more_right(
    results: pd.DataFrame, limits: Limits
) -> None:
    def shares(answer_from: float, scope_from: float) -> tuple[float, float, float]:
        of = result_shares(decide_again(results, decline_below=0, answer_from=answer_from, scope_from=scope_from))
        return of["answered right"], of["answered wrong"], of["out of scope, answered"]

    found = thresholds(results, limits)
    right, wrong, false = shares(found["answer_from"], found["scope_from"])
    assert wrong <= limits.wrong and false <= limits.false
    for other in product(np.arange(0, 1.01, 0.1), repeat=2):
        other_right, wrong, false = shares(*other)
        assert other_right <= right or wrong > limits.wrong or false > limits.false
    declined = [
        (results.loc[results["answerable"], "confidence"] < found["decline_below"] + more).mean() for more in (0, 0.01)
    ]
    assert declined[0] <= limits.declined < declined[1]


def test_if_no_threshold_keeps_within_the_limits_next_to_nothing_is_answered(results: pd.DataFrame) -> None:
    certain = results.assign(first=1.0, confidence=1.0)
    found = thresholds(certain, Limits(wrong=0.0))
    assert (found["scope_from"], found["answer_from"]) == (1, 1)


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
