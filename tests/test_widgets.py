"""The widgets follow their controls, without a browser."""

from __future__ import annotations

import json
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


@pytest.fixture(scope="module")
def tuned(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    config = RetrievalConfig(scale=20.0, answer_from=0.6)
    return Retriever.build(FAQS, config, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def results(tuned: Retriever) -> pd.DataFrame:
    queries = pd.DataFrame({"id": ["a", "b"], "query": ["send shoes back", "what is the capital of Peru"]})
    queries["relevant"] = [("2",), ()]
    return evaluation.evaluate(tuned, queries.assign(kind="x", split="", answerable=[True, False]))


def test_the_explorer_redraws_when_a_question_is_typed_or_more_entries_are_wanted(tuned: Retriever) -> None:
    text, k, message, picture = widgets.explorer(tuned, "send shoes back").children
    pictures = [picture.value]
    text.value = "do you deliver to Norway?"
    pictures.append(picture.value)
    k.value = 2
    pictures.append(picture.value)
    assert len(set(pictures)) == 3
    assert (k.max, message.value) == (len(FAQS), "")


def test_an_empty_question_is_answered_in_a_sentence_and_the_picture_stays(tuned: Retriever) -> None:
    text, _, message, picture = widgets.explorer(tuned, "can I send shoes back?").children
    before = picture.value
    text.value = "   "
    assert "empty" in message.value
    assert picture.value == before
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
    assert repr(widgets.explorer(tuned, "shoes")) == (
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


@pytest.mark.parametrize(("value", "shown"), [(0.0001, "&lt; 0.001"), (0, "0"), (12.345, "12.3"), (261.4, "261")])
def test_numbers_are_as_long_as_they_need_to_be(value: float, shown: str) -> None:
    assert f">{shown}<" in widgets.table([{"a": value}]).data
