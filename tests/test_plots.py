"""The figures draw what they are given, also from the small and odd files that people bring."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from faqlab import calibration, evaluation, plots
from faqlab.faqs import Faq
from faqlab.retriever import Hit

QUERIES = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "query": ["one", "two", "three", "four"],
        "relevant": [("0",), ("1",), ("2",), ()],
        "kind": ["keyword", "keyword", "typo", "far_out_of_scope"],
        "split": "",
        "answerable": [True, True, True, False],
    }
)
RANKED = [("0", "1", "2"), ("2", "1", "0"), ("0", "1", "2"), ("1", "2", "0")]


@pytest.fixture
def results() -> pd.DataFrame:
    """Three answerable queries, right at rank 1, 2 and 3, and one out of scope; nearest first."""
    distances = np.array([0.4, 0.8, 1.2, 1.6])
    results = evaluation.judge(QUERIES, RANKED, 1 - distances / 2)
    results["squared_l2"] = distances
    return results.assign(first=["right", "wrong", "wrong", "out of scope"])


def hits(*distances: float, question: str = "Do you ship abroad?") -> list[Hit]:
    return [Hit(n, Faq(str(n), question, "Yes."), d, 1 - d / 2) for n, d in enumerate(distances, start=1)]


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_a_figure_is_closed_and_leaves_the_callers_style_alone():
    before = dict(mpl.rcParams)
    plots.three_scales()
    assert dict(mpl.rcParams) == before
    assert not mpl.pyplot.get_fignums()


def test_the_same_figure_is_the_same_png():
    assert plots.to_png(plots.three_scales()) == plots.to_png(plots.three_scales())


@pytest.mark.parametrize("entries", [1, 2, 3, 30])
def test_a_plane_fits_an_faq_of_any_size(entries):
    vectors = np.random.default_rng(0).normal(size=(entries, 8)).astype(np.float32)
    plane = plots.fit_plane(vectors)
    points = plane.transform(vectors)
    assert points.shape == (entries, 2)
    assert plots.to_png(plots.faq_map(points, [""] * entries, plane.explained_variance_ratio_))


def test_categories_past_twelve_become_one_and_no_entry_is_lost():
    categories = [f"c{n}" for n in range(20)] + ["c0", ""]
    groups = plots._by_category(categories)
    assert len(groups) == 12
    assert groups[0] == ("c0", [0, 20])
    assert sorted(entry for _, entries in groups for entry in entries) == list(range(22))


def test_a_query_on_the_map_names_its_nearest_entries():
    figure = plots.faq_map(
        np.zeros((2, 2)), ["", ""], [0.5, 0.2], query="shoes?", query_point=np.ones(2), nearest=[(1, hits(0.25)[0])]
    )
    assert "“shoes?”" in texts(figure)
    assert "Do you ship abroad?  (squared L2 0.25)" in texts(figure)


def test_dollars_in_an_faq_are_not_read_as_formulas():
    figure = plots.ranked_answers("is $5 more than $4?", hits(0.5, 1.0, question="What do I get for $20^_ or $30?"))
    assert plots.to_png(figure)  # as a formula, 20^_ cannot be drawn
    assert "“is $5 more than $4?”" in texts(figure)


def test_a_very_long_query_stays_on_the_page():
    figure = plots.ranked_answers("word " * 10_000, hits(0.5))
    assert all(len(line) <= 100 for line in texts(figure).split("\n"))


def test_first_distances_shows_only_the_groups_that_there_are(results):
    assert len(plots.first_distances(results).axes) == 3
    assert len(plots.first_distances(results[results["answerable"]]).axes) == 2


def test_shares_by_distance_add_up_to_one(results):
    (ax,) = plots.share_by_distance(results, 0.5).axes
    tops = [bar.get_y() + bar.get_height() for bar in ax.patches if bar.get_height()]
    assert max(tops) == pytest.approx(1)


def test_the_trade_off_is_drawn_also_where_nothing_is_out_of_scope(results):
    for table in (results, results[results["answerable"]]):
        figure = plots.trade_off({"one": evaluation.threshold_curve(table)}, answer_rate=0.85)
        assert plots.to_png(figure)
        assert "85% answered" in texts(figure)


def test_context_costs_count_what_the_model_reads(results):
    faqs = [Faq(str(n), "one two", "three") for n in range(3)]
    costs = evaluation.context_costs(results, faqs, [1, 2])
    assert costs["words"].tolist() == [5, 10]  # with "Q:" and "A:"
    assert costs["characters"].tolist() == [19, 40]  # two blocks and a blank line


def test_every_other_figure_can_be_drawn(results):
    curve = evaluation.threshold_curve(results)
    decided = results.assign(first=[0.9, 0.6, 0.4, 0.2], answers=1, choice_right=True)
    fates, areas = evaluation.fates(decided), evaluation.fate_curve(decided, decline_below=0.5)
    kept = calibration.reliability(decided["confidence"], decided["answerable"])
    summary, kinds = evaluation.summarise(results), evaluation.by_kind(results)
    hit_curve = evaluation.hit_curve(results, [1, 2, 3])
    squared = np.array([[0, 1.0, 2.0], [1, 0, 1], [2, 1, 0]])
    for figure in [
        plots.vector_strips(np.eye(3), ["a", "b", "c"]),
        plots.neighbour_distances(np.array([0.5, 1.0]), np.array([0.5, 1.0, 2.0])),
        plots.neighbour_distances(np.array([np.inf]), np.array([])),
        plots.distance_matrix(squared, ["", "", ""]),
        plots.distance_matrix(squared, ["", "b", "b"]),
        plots.intervals({"one": summary, "other": summary}, ["hit@1", "auroc"], "title"),
        plots.hit_curve(hit_curve),
        plots.hit_curve(hit_curve, 2),
        plots.context_cost(pd.DataFrame({"top_k": [1, 2], "words": [5, 9], "low": [4, 8], "high": [6, 12]})),
        plots.fates(fates, "title"),
        plots.fate_areas(areas, 0.5, "threshold"),
        plots.fate_areas(evaluation.fate_curve(decided[:3], answer_from=0.5), 0.5, "threshold"),
        plots.reliability({"one": kept, "other": kept}),
        plots.trade_off({"one": curve, "other": curve}),
        plots.by_kind({"one": kinds, "other": kinds}, "hit@1", "title"),
        plots.counts(pd.Series({"a": 3, "b": 0}), "title"),
    ]:
        assert plots.to_png(figure).startswith(b"\x89PNG")
