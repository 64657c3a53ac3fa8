"""From labels to probabilities that keep their promise, and to the thresholds of a stated cost."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from faqlab.calibration import Costs, cheapest, fit, reliability
from faqlab.decision import Outcome, decide, probabilities
from faqlab.evaluation import FATES, decide_again, evaluate, fate_curve, fates, outcomes
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Retriever


@pytest.fixture(scope="module")
def results(retriever: Retriever, queries: pd.DataFrame) -> pd.DataFrame:
    """Every third query of the committed file, calibrated by hand."""
    calibrated = retriever.with_config(scale=15.0, none=0.5, decline_below=0.4, answer_from=0.5)
    return evaluate(calibrated, queries[::3].reset_index(drop=True))


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
    assert after[1] > after[0] > before[2] > after[2]
    odds = np.exp([6, 7, 1])
    np.testing.assert_allclose(after[:-1] / after[:-1].sum(), odds / odds.sum())


def test_very_large_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(probabilities(np.array([[1.0, -1.0]]), 1000.0, -1.0), [[1, 0, 0]])


@pytest.mark.parametrize(
    ("in_scope", "first", "outcome"),
    [(0.49, 0.49, "decline"), (0.5, 0.6, "answer"), (0.9, 0.59, "ask_back"), (0.5, 0.5, "ask_back")],
)
def test_a_query_is_declined_answered_or_asked_back(in_scope: float, first: float, outcome: str) -> None:
    assert decide(in_scope, first, 0.5, 0.6) == outcome


def test_the_fit_finds_the_numbers_that_the_labels_were_drawn_by() -> None:
    rng = np.random.default_rng(1)
    entries = rng.normal(size=(30, 64))
    entries /= np.linalg.norm(entries, axis=1, keepdims=True)
    asked = rng.normal(size=(3000, 64))
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    in_common = rng.uniform(size=(3000, 30))
    p = probabilities(asked @ entries.T, 12.0, 0.2, 0.3 * in_common)
    drawn = [rng.choice(31, p=row) for row in p]
    queries = pd.DataFrame({"query": [""] * 3000, "relevant": [(str(i),) if i < 30 else () for i in drawn]})

    class Drawn:
        class index:  # noqa: N801
            vectors = entries

        class ngrams:  # noqa: N801
            @staticmethod
            def cosines(queries: Any) -> np.ndarray:
                return in_common

        faqs = FaqSet(tuple(Faq(str(n), "", "") for n in range(30)))

        def embed(self, queries: Any) -> np.ndarray:
            return asked

    scale, none, lexical = fit([(Drawn(), queries)])  # type: ignore[list-item]
    assert scale == pytest.approx(12, rel=0.1)
    assert none == pytest.approx(0.2, abs=0.03)
    assert lexical == pytest.approx(0.3, abs=0.03)


def test_fitted_probabilities_come_true_as_often_as_they_say(retriever: Retriever, queries: pd.DataFrame) -> None:
    scale, none, lexical = fit([(retriever, queries)])
    fitted = evaluate(retriever.with_config(scale=scale, none=none, lexical=lexical), queries)
    assert fitted["first"].mean() == pytest.approx((fitted["hit@1"] == 1).mean(), abs=0.03)
    assert fitted["confidence"].mean() == pytest.approx(fitted["answerable"].mean(), abs=0.02)
    table = reliability(fitted["confidence"], fitted["answerable"], bins=4)
    assert (abs(table["predicted"] - table["observed"]) < 0.2).all()
    assert table["queries"].sum() == len(queries)


def test_what_thresholds_would_do_is_what_they_do(retriever: Retriever, queries: pd.DataFrame) -> None:
    """Judged whole (so that no part of a query is answered by itself), and decided again."""
    calibrated = retriever.with_config(scale=25.0, none=0.45)
    whole = evaluate(calibrated.with_config(decline_below=1.0), queries)
    assert (whole["answers"] == 1).all()
    assert (evaluate(calibrated, queries)["answers"] > 1).any()
    done = evaluate(calibrated.with_config(decline_below=0.55, answer_from=0.6), queries)
    alone = done["answers"] == 1
    assert 0 < (~alone).sum() < 0.1 * len(queries)
    would = decide_again(whole, 0.55, 0.6)
    pd.testing.assert_series_equal(would.loc[alone, "outcome"], done.loc[alone, "outcome"])
    assert would["two_turns"].mean() == pytest.approx(done["two_turns"].mean(), abs=0.02)


def test_reliability_counts_by_tenths() -> None:
    table = reliability(pd.Series([0.0, 0.05, 0.95, 1.0]), pd.Series([False, True, True, True]))
    assert table["predicted"].tolist() == pytest.approx([0.025, 0.975])
    assert table["observed"].tolist() == [0.5, 1]
    assert table["queries"].tolist() == [2, 2]


def test_the_cheapest_thresholds_are_those_that_trying_all_finds(results: pd.DataFrame) -> None:
    costs = Costs(wrong=2.0, ask=0.4)
    alone = results[results["answers"] == 1]

    def price(row: Any) -> float:
        match decide(row.confidence, row.first, low, high):
            case Outcome.DECLINE:
                return float(row.answerable)
            case Outcome.ANSWER:
                return costs.wrong * (row.hit1 != 1)
            case _:
                return costs.ask + (row.answerable and not row.choice_right)

    rows = list(alone.rename(columns={"hit@1": "hit1"}).itertuples())
    grid = {}
    for low, high in itertools.product(np.arange(0, 1.01, 0.1).round(1), repeat=2):
        grid[low, high] = np.mean([price(row) for row in rows])
    low, high, cost = cheapest(results, costs)
    assert cost <= min(grid.values()) + 1e-9
    assert cost == pytest.approx(np.mean([price(row) for row in rows]))


def test_a_dearer_mistake_means_fewer_answers(results: pd.DataFrame) -> None:
    answered = []
    for wrong in (1, 2, 5):
        low, high, _ = cheapest(results, Costs(wrong=wrong, ask=0.5))
        answered.append(decide_again(results, low, high)["answered"].mean())
    assert answered[0] > answered[1] > answered[2]


def test_deciding_again_is_deciding_so_in_the_first_place(
    retriever: Retriever, queries: pd.DataFrame, results: pd.DataFrame
) -> None:
    stricter = retriever.with_config(scale=15.0, none=0.5, decline_below=0.7, answer_from=0.8)
    expected = evaluate(stricter, queries[::3].reset_index(drop=True))
    alone = (results["answers"] == 1) & (expected["answers"] == 1)
    again = decide_again(results, 0.7, 0.8)
    assert (again["outcome"] == expected["outcome"])[alone].all()
    pd.testing.assert_series_equal(again["two_turns"][alone], expected["two_turns"][alone])
    assert set(results["outcome"]) == {"answer", "ask_back", "decline"}  # left as it was


def test_two_turns_count_a_right_answer_and_a_right_choice(results: pd.DataFrame) -> None:
    inside = results[results["answerable"]]
    right = ((inside["outcome"] == "answer") & (inside["hit@1"] == 1)) | (
        (inside["outcome"] == "ask_back") & inside["choice_right"]
    )
    assert inside["two_turns"].tolist() == right.astype(float).tolist()
    assert results["two_turns"][~results["answerable"]].isna().all()
    assert inside["two_turns"].mean() > inside["hit@1"][inside["answered"]].sum() / len(inside)


def test_fates_and_outcomes_count_every_query_once(results: pd.DataFrame) -> None:
    table = fates(results)
    assert list(table.columns) == list(FATES)
    assert table.sum(axis=1).to_dict() == {
        "answerable": results["answerable"].sum(),
        "out of scope": (~results["answerable"]).sum(),
    }
    assert table.loc["out of scope", "answered, right"] == 0
    assert table.loc["answerable", "declined"] == ((results["outcome"] == "decline") & results["answerable"]).sum()
    shares = outcomes(results)
    assert shares.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert shares.loc["answerable", "decline"] == pytest.approx(
        table.loc["answerable", "declined"] / results["answerable"].sum()
    )


def test_the_fate_curve_ends_where_everything_and_nothing_is_declined(results: pd.DataFrame) -> None:
    alone = results[results["answers"] == 1]
    curve = fate_curve(alone, answer_from=0.5)
    assert curve.xs(0.0)["declined"].max() == 0
    assert curve.xs(1.0)["declined"].min() == 1
    assert np.allclose(curve.sum(axis=1), 1)
