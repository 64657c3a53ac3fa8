"""What the labelling widget shows and saves, without a browser: `test_labelling_in_jupyterlab.py` has one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL

from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.labelling import CONFUSABLE, Labeller
from faqlab.lookup_log import LookupRecord
from faqlab.queries import load_queries
from faqlab.retriever import Retriever

FAQS = FaqSet(tuple(Faq(str(n), question, answer) for n, (question, answer) in enumerate(SMALL)))


@pytest.fixture(scope="module")
def small(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    return Retriever.build(FAQS, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


class Browser:
    """Sends messages to a widget as its JavaScript does, and keeps the replies."""

    def __init__(self, labeller: Labeller, monkeypatch: pytest.MonkeyPatch) -> None:
        self.labeller, self.replies = labeller, list[dict[str, Any]]()
        monkeypatch.setattr(labeller, "send", self.replies.append)

    def send(self, **message: Any) -> dict[str, Any]:
        self.labeller._handle_custom_msg(message, [])
        return self.replies[-1]

    def save(self, query: str, relevant: str, kind: str = "call") -> dict[str, Any]:
        return self.send(save={"query": query, "relevant": relevant, "kind": kind, "source": "typed"})

    @property
    def left(self) -> list[str]:
        return [question["text"] for question in self.labeller.state["left"]]


def test_a_label_is_in_the_file_at_once_and_undone_one_after_the_other(
    small: Retriever, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(Labeller(small, path, ["my parcel", "shoes back", "weather"]), monkeypatch)
    browser.save("my parcel", "0")
    browser.save("shoes back", "2 3")
    assert load_queries(path, FAQS)["relevant"].tolist() == [("0",), ("2", "3")]
    assert (browser.left, browser.labeller.state["undo"]) == (["weather"], 2)
    browser.send(undo=True)
    browser.send(undo=True)
    browser.send(undo=True)  # there is nothing left to undo
    assert browser.left == ["my parcel", "shoes back", "weather"]
    assert len(path.read_text().splitlines()) == 1


def test_a_question_that_the_file_has_is_not_asked_again(
    small: Retriever, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("query,relevant,kind\nMy parcel?,0,call\num,,not_a_question\n")
    browser = Browser(Labeller(small, path, ["my parcel", "um", "shoes back", "Shoes back?", "..."]), monkeypatch)
    assert browser.left == ["shoes back"]
    assert "there already" in browser.save("my parcel", "1")["problem"]
    assert browser.left == ["shoes back"]


def test_a_file_that_is_changed_by_hand_keeps_the_change(
    small: Retriever, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(Labeller(small, path, ["my parcel", "shoes back"]), monkeypatch)
    browser.save("my parcel", "0")
    with path.open("a") as file:
        file.write("q-1,by hand,1,everyday,test,\n")
    assert "remove it in the file" in browser.send(undo=True)["problem"]
    assert browser.save("shoes back", "2") == {}
    assert load_queries(path, FAQS)["query"].tolist() == ["my parcel", "by hand", "shoes back"]


def test_a_label_is_refused_and_not_written_while_the_file_has_a_mistake(
    small: Retriever, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("query,relevant\nhi,0\n")
    browser = Browser(Labeller(small, path, ["my parcel", "-"]), monkeypatch)
    path.write_text("query,relevant\nhi,nope\n")
    assert [browser.save("my parcel", "0")["problem"] for _ in range(2)] == [
        f"{path}: line 2 (q1): the FAQ has no entry 'nope' (it has, for example, '0'); "
        "name your queries with --queries or FAQLAB_QUERIES, or fix the label."
    ] * 2
    assert path.read_text() == "query,relevant\nhi,nope\n"
    path.write_text("query,relevant\nhi,0\n")
    assert browser.save("my parcel", "0") == browser.save("-", "") == {}
    assert len(load_queries(path, FAQS)) == 3


def test_labels_are_not_added_to_a_spreadsheet(small: Retriever, tmp_path: Path) -> None:
    with pytest.raises(FaqlabError, match=r"mine\.XLSX: labels are added to CSV files only; save it as CSV"):
        Labeller(small, tmp_path / "mine.XLSX")
    assert not [*tmp_path.iterdir()]


def test_entries_are_found_for_any_words(small: Retriever, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = Browser(Labeller(small, path), monkeypatch).send(find="by card?")
    assert reply["found"][0] == {"id": "1", "question": SMALL[1][0], "answer": SMALL[1][1]}
    assert (len(reply["found"]), reply["for"]) == (4, "by card?")


def test_replies_to_a_clarifying_question_are_left_out_and_a_verdict_is_shown(small: Retriever, path: Path) -> None:
    hits = [{"question": SMALL[0][0]}]
    calls = [
        LookupRecord("my parcel", "a-room", None, "answer", "confident", hits=hits, helpful=False),
        LookupRecord("shoes", "a-room", None, "clarify", "ambiguous", hits=hits),
        LookupRecord("the second one", "a-room", None, "answer", "chosen", hits=hits),
        LookupRecord("My parcel!", "b-room", None),
    ]
    parcel, shoes = Labeller(small, path, calls).state["left"]
    assert parcel["note"] == "The answer was “Where is my parcel?”, and the caller said: not helpful."
    assert parcel["source"] == f"call {calls[0].id}"
    assert shoes == {"text": "shoes", "source": f"call {calls[1].id}"}


def test_without_questions_confusable_entries_are_proposed_first_then_one_of_each_category(
    retriever: Retriever, path: Path
) -> None:
    faqs, proposed = retriever.faqs, Labeller(retriever, path).proposed
    ids = [entry["id"] for entry in proposed]
    assert sorted(ids) == sorted(faqs.ids)
    assert (proposed[0]["similar"], proposed[1]["similar"]) == (proposed[1]["question"], proposed[0]["question"])
    categories = {faq.category for faq in faqs}
    assert {faqs[faq_id].category for faq_id in ids[:CONFUSABLE]} < categories
    assert {faqs[faq_id].category for faq_id in ids[: CONFUSABLE + len(categories)]} == categories


def test_a_file_of_another_faq_is_refused_in_a_sentence(small: Retriever, path: Path) -> None:
    path.write_text("query,relevant\nhi,nine\n")
    with pytest.raises(FaqlabError, match="has no entry 'nine'"):
        Labeller(small, path)


def test_where_widgets_cannot_be_shown_there_is_a_line_of_text(small: Retriever, path: Path) -> None:
    labeller = Labeller(small, path)
    data: Any = labeller._repr_mimebundle_()
    assert data[0]["text/plain"] == "[a widget: open this notebook in JupyterLab and run its cells to use it]"


def test_faqlab_ask_does_not_load_the_widget() -> None:
    code = "import faqlab.cli, faqlab.retriever, sys; print({'anywidget', 'faqlab.labelling'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
