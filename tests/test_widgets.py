"""The widgets follow their controls, without a browser."""

from __future__ import annotations

import json
from copy import copy
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL

from faqlab import evaluation, widgets
from faqlab.calibration import Limits
from faqlab.config import RetrievalConfig
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Retriever

FAQS = FaqSet(tuple(Faq(str(n), question, answer) for n, (question, answer) in enumerate(SMALL)))


def tables(html: str) -> list[pd.DataFrame]:
    return pd.read_html(StringIO(html))


@pytest.fixture(scope="module")
def tuned(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    config = RetrievalConfig(scale=20.0, answer_from=0.6)
    return Retriever.build(FAQS, config, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def results(tuned: Retriever) -> pd.DataFrame:
    queries = pd.DataFrame({"id": ["a", "b"], "query": ["send shoes back", "what is the capital of Peru"]})
    queries["relevant"] = [("2",), ()]
    return evaluation.evaluate(tuned, queries.assign(kind="x", split="", answerable=[True, False]))


def test_the_explorer_follows_the_question_and_how_many_entries_are_wanted(tuned: Retriever) -> None:
    text, k, message, shown = widgets.explorer("send shoes back", tuned=tuned).children
    assert len(tables(shown.value)[0]) == len(FAQS)
    text.value, k.value = SMALL[0][0], 2
    (found,) = tables(shown.value)
    assert (len(found), found["entry"][0]) == (2, SMALL[0][0])
    assert (k.max, message.value) == (len(FAQS), "")


def test_the_explorer_says_what_each_configuration_decides_and_what_each_part_adds(tuned: Retriever) -> None:
    both = copy(tuned.with_config(ngram_weight=0.5))
    both.beside = tuned
    baseline = Retriever(FAQS, tuned.encoder, tuned.index, RetrievalConfig())
    html = widgets.explorer("send shoes back", baseline=baseline, both=both).children[-1].value
    alone, found = tables(html)
    ranking = both.rank(["send shoes back"])[0]
    assert "baseline: answer (uncalibrated)<" in html
    assert f"both: {ranking.outcome} (" in html
    assert f"P(FAQ has the answer) = {ranking.confidence:.2f}, P(first entry is right) = {ranking.first:.2f}" in html
    assert list(alone) == ["entry", "100% all-MiniLM-L6-v2", "squared L2"]
    assert found["entry"].tolist() == [FAQS.entries[n].question for n in ranking.entries]
    similarity = 0.3 * found["30% all-MiniLM-L6-v2"] + 0.7 * found["70% all-MiniLM-L6-v2"]
    assert np.allclose(2 - 2 * similarity, found["squared L2"], atol=0.01)
    assert (similarity + found["+ n-grams"]).is_monotonic_decreasing


def test_the_explorer_marks_the_entries_that_a_clarifying_question_offers(tuned: Retriever) -> None:
    unsure = tuned.with_config(answer_from=1.0)
    (found,) = tables(widgets.explorer("send shoes back", unsure=unsure).children[-1].value)
    offered = unsure.answer("send shoes back").choices
    assert set(found["entry"][found["offered"] == "yes"]) == set(offered)


def test_an_empty_question_is_answered_in_a_sentence_and_the_table_stays(tuned: Retriever) -> None:
    text, _, message, shown = widgets.explorer("can I send shoes back?", tuned=tuned).children
    before = shown.value
    text.value = "   "
    assert "empty" in message.value
    assert shown.value == before
    text.value = "shoes"
    assert message.value == ""


def test_dragged_limits_redraw_the_picture_and_only_the_button_saves_their_thresholds(
    tuned: Retriever, results: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    tuner = widgets.threshold_tuner(results, tuned.config, path, Limits())
    wrong, false, declined, _, picture, button, saved = tuner.children
    assert (wrong.value, false.value, declined.value) == (Limits().wrong, Limits().false, Limits().declined)
    before = picture.value
    false.value = 1.0
    assert picture.value != before
    assert not path.exists()
    button.click()
    kept = json.loads(path.read_text())
    assert (kept["decline_below"], kept["answer_from"]) != (0.0, 0.6)
    assert kept["scale"] == tuned.config.scale
    assert "mine.json" in saved.value


def test_a_file_that_cannot_be_written_is_reported_in_a_sentence(
    tuned: Retriever, results: pd.DataFrame, tmp_path: Path
) -> None:
    *_, button, saved = widgets.threshold_tuner(results, tuned.config, tmp_path, Limits()).children
    button.click()
    assert "Is a directory" in saved.value


def test_a_widget_that_cannot_be_shown_says_what_to_do(tuned: Retriever) -> None:
    assert repr(widgets.explorer("shoes", tuned=tuned)) == (
        "[a widget: open this notebook in JupyterLab and run its cells to use it]"
    )


def test_a_table_shows_text_whole_and_escaped_numbers_short_and_missing_values_as_dashes() -> None:
    long = "word " * 50
    rows = {"text": ["<b>", long], "number": [0.123456, np.nan], "rank": pd.array([1, pd.NA], dtype="Int64")}
    html = widgets.table(pd.DataFrame(rows)).data
    assert "&lt;b&gt;" in html
    assert long in html
    assert "0.123<" in html
    assert html.count("–") == 2


def test_a_table_takes_columns_dictionaries_and_dataclasses() -> None:
    for rows in (FAQS.entries, [{"a": SMALL[3][0]}], {"a": [SMALL[3][0]]}):
        assert SMALL[3][0] in widgets.table(rows).data


def test_a_table_without_rows_says_so() -> None:
    assert widgets.table(pd.DataFrame({"a": []})).data == "<i>none</i>"


@pytest.mark.parametrize(("value", "shown"), [(0.0001, "&lt; 0.001"), (0, "0"), (12.345, "12.3"), (261.4, "261")])
def test_numbers_are_as_long_as_they_need_to_be(value: float, shown: str) -> None:
    assert f">{shown}<" in widgets.table([{"a": value}]).data
