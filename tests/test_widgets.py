"""The widgets follow their controls, without a browser."""

import json

import numpy as np
import pandas as pd
import pytest

from faqlab import evaluation, plots, widgets
from faqlab.calibration import Costs
from faqlab.encoder import MINILM, load_encoder
from faqlab.faqs import FaqSet
from faqlab.retriever import RetrievalConfig, Retriever
from faqlab.settings import settings

FAQS = [
    ("Do you ship abroad?", "Yes."),
    ("Can I return shoes?", "Within 30 days."),
    ("How do I pay?", "By card."),
    ("Where is my parcel?", "See the link."),
]


@pytest.fixture(scope="module")
def retriever(tmp_path_factory) -> Retriever:
    folder = tmp_path_factory.mktemp("faq")
    path = folder / "mine.json"
    path.write_text(json.dumps({"questions": [{"question": q, "answer": a} for q, a in FAQS]}))
    faqs = FaqSet.load(path)
    encoder = load_encoder(MINILM, settings().cache_dir)
    return Retriever.build(
        faqs, RetrievalConfig(scale=20.0, answer_from=0.6), encoder=encoder, cache_dir=folder / "cache"
    )


def test_the_explorer_redraws_when_a_question_is_typed(retriever):
    explorer = widgets.explorer(retriever, "send shoes back")
    text, k, message, picture = explorer.children
    before = picture.value
    text.value = "do you deliver to Norway?"
    assert picture.value != before
    assert message.value == ""
    before = picture.value
    k.value = 2
    assert picture.value != before


def test_the_explorers_slider_ends_at_the_number_of_entries(retriever):
    assert widgets.explorer(retriever, "shoes", 50).children[1].max == len(FAQS)


def test_an_empty_question_is_said_in_a_sentence_and_the_picture_stays(retriever):
    text, message, picture = widgets.query_on_map(
        retriever, plots.fit_plane(retriever.index.vectors), "can I send shoes back?"
    ).children
    before = picture.value
    text.value = "   "
    assert "empty" in message.value
    assert picture.value == before
    text.value = "shoes"
    assert message.value == ""


def test_the_map_joins_the_query_with_its_three_nearest(retriever):
    figure = widgets.draw_query_on_map(retriever, plots.fit_plane(retriever.index.vectors), "can I send shoes back?")
    title = figure.axes[0].get_title(loc="left")
    assert title.split("\n")[1].startswith("1  Can I return shoes?")
    assert len(title.split("\n")) == 4


def test_dragged_costs_and_k_redraw_the_picture(retriever):
    queries = pd.DataFrame(
        {
            "id": ["a", "b"],
            "query": ["send shoes back", "what is the capital of Peru"],
            "relevant": [("1",), ()],
            "kind": "x",
            "split": "",
            "answerable": [True, False],
        }
    )
    results = evaluation.evaluate(retriever, queries)
    wrong, ask, _, picture = widgets.cost_tuner(results, Costs()).children
    assert (wrong.value, ask.value) == (Costs().wrong, Costs().ask)
    before = picture.value
    ask.value = 0.0
    assert picture.value != before
    k, _, picture = widgets.k_tuner(evaluation.hit_curve(results, range(1, 5)), 3).children
    assert (k.value, k.max) == (3, 4)
    before = picture.value
    k.value = 1
    assert picture.value != before


def test_a_widget_that_cannot_be_shown_says_what_to_do(retriever):
    assert repr(widgets.explorer(retriever, "shoes")) == (
        "[a widget: open this notebook in JupyterLab and run the cell to use it]"
    )


def test_a_table_shows_text_whole_and_escaped_and_numbers_short():
    long = "word " * 50
    rows = {
        "text": ["<b>", long],
        "number": [np.float64(0.123456), np.nan],
        "rank": pd.array([1, pd.NA], dtype="Int64"),
    }
    html = widgets.table(pd.DataFrame(rows)).data
    assert "&lt;b&gt;" in html
    assert long in html
    assert "0.123<" in html.replace("\n", "")
    assert html.count("–") == 2


def test_a_table_takes_columns_dictionaries_and_dataclasses(retriever):
    assert "Do you ship abroad?" in widgets.table(retriever.faqs.entries).data
    assert "<td" in widgets.table([{"a": 1}]).data
    assert "<td" in widgets.table({"a": [1]}).data


@pytest.mark.parametrize(("value", "shown"), [(0.0001, "&lt; 0.001"), (0, "0"), (12.345, "12.3"), (261.4, "261")])
def test_numbers_are_as_long_as_they_need_to_be(value, shown):
    assert f">{shown}<" in widgets.table([{"a": value}]).data
