"""An FAQ file is read as it stands, or refused in a sentence that names the file, the entry and the remedy."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, WriteFaqs, assert_one_sentence

from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Retriever

GOOD = {"question": "How do I pay?", "answer": "By card."}


def entries(*raw: Any) -> bytes:
    return json.dumps({"questions": list(raw)}).encode()


BAD = {
    "not JSON": (b'{"questions": [', ["not JSON (line 1", 'expected {"questions"']),
    "no bytes at all": (b"", ["not JSON", 'expected {"questions"']),
    "a list": (b"[]", ["not an FAQ", 'expected {"questions"']),
    "a number": (b"NaN", ["not an FAQ", 'expected {"questions"']),
    "another key": (b'{"faqs": []}', ["not an FAQ", 'expected {"questions"']),
    "questions that are no list": (b'{"questions": {"question": "a"}}', ["not an FAQ", 'expected {"questions"']),
    "nested 100,000 deep": (b"[" * 100_000, ["nested too deeply", 'expected {"questions"']),
    "a number of 5,000 digits": (entries(GOOD)[:-3] + b', "id": ' + b"9" * 5000 + b"}]}", ["numbers too long"]),
    "no entries": (entries(), ["the list of questions is empty", "add at least one"]),
    "an entry that is text": (entries(GOOD, "hello"), ["question 1 is not an object", 'expected {"question"']),
    "no answer": (entries(GOOD, {"question": "Who?"}), ["question 1 has no answer", 'expected {"question"']),
    "an empty answer": (entries(GOOD, {"question": "Who?", "answer": " "}), ["question 1 has no answer", "expected"]),
    "an answer that is a number": (
        entries({"question": "Who?", "answer": 5}),
        ["question 0 has no answer", "expected"],
    ),
    "an answer of control characters": (entries({"question": "Who?", "answer": "\0\u200b"}), ["question 0 has no ans"]),
    "no question": (entries({"answer": "Me."}), ["question 0 has no question", "expected"]),
    "an empty question": (entries({"question": "", "answer": "Me."}), ["question 0 has no question", "expected"]),
    "two entries with one id": (
        entries({**GOOD, "id": "pay"}, {"question": "Who?", "answer": "Me.", "id": "pay"}),
        ["questions 0 and 1 have the same id 'pay'", "rename one"],
    ),
    "an id that is another's position": (
        entries({**GOOD, "id": 1}, {"question": "Who?", "answer": "Me."}),
        ["questions 0 and 1 have the same id '1'", "rename one"],
    ),
    "one question twice": (
        entries(GOOD, {"question": "how  do I PAY?", "answer": "Cash."}),
        ["questions 0 and 1 are the same", "merge them"],
    ),
    "an id of two words": (entries({**GOOD, "id": "a b"}), ["question 0 has the id 'a b'", "ids have no spaces"]),
    "an id that is a list": (entries({**GOOD, "id": []}), ["question 0 has an id", "mend or leave it out"]),
    "an empty id": (entries({**GOOD, "id": ""}), ["question 0 has an id", "mend or leave it out"]),
    "a category that is no text": (entries({**GOOD, "category": 3}), ["question 0 has a category that is not text"]),
    "half a character in a question": (
        entries({**GOOD, "question": "A\ud83d"}),
        ["the question of question 0", "half"],
    ),
    "half a character in an id": (
        entries({**GOOD, "id": "\ud83d"}),
        ["the id of question 0", "half", "write it again"],
    ),
    "Latin-1": (
        '{"questions": [{"question": "für"'.encode("latin-1"),
        ["not UTF-8 (byte 30)", "save the file as UTF-8"],
    ),
    "UTF-16": (entries(GOOD).decode().encode("utf-16"), ["not UTF-8 (byte 0)", "save the file as UTF-8"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_sentence_that_names_file_entry_and_remedy(
    case: str, tmp_path: Path, cli: Cli
) -> None:
    content, expected = BAD[case]
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    with pytest.raises(FaqlabError) as error:
        FaqSet.load(path)
    message = str(error.value)
    for part in [f"{path}: ", *expected]:
        assert part in message
    run = cli("ask", "where is my parcel?", "--faqs", path)
    assert_one_sentence(run)
    assert run.err == f"faqlab: {message}\n"


def test_a_file_that_is_not_there_is_named_with_what_to_set(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "mine.json"
    with pytest.raises(FaqlabError, match=r"mine\.json: no such file: name your FAQ by --faqs or FAQLAB_FAQS"):
        FaqSet.load(path)
    assert_one_sentence(cli("ask", "hello", "--faqs", path))


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path, cli: Cli) -> None:
    with pytest.raises(FaqlabError, match=r"cannot be read .*: name your FAQ by --faqs"):
        FaqSet.load(tmp_path)
    assert_one_sentence(cli("ask", "hello", "--faqs", tmp_path))


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(b"\xef\xbb\xbf" + entries(GOOD))
    assert FaqSet.load(path).entries == (Faq("0", "How do I pay?", "By card."),)


def test_an_entry_without_an_id_gets_its_position_from_0(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(
        entries(GOOD, {"question": "Who?", "answer": "Me.", "id": "who"}, {"question": "b", "answer": "b"})
    )
    assert FaqSet.load(path).ids == ["0", "who", "2"]


def test_ids_may_be_numbers_and_texts_are_stripped(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(entries({"question": " Who? ", "answer": "\nMe.\n", "id": 17, "category": " people "}))
    faqs = FaqSet.load(path)
    assert faqs["17"] == Faq("17", "Who?", "Me.", "people")
    assert "17" in faqs and "0" not in faqs


def test_an_faq_in_another_script_with_emoji_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"questions": [{"question": "我的包裹在哪里？ 📦", "answer": "في الطريق"}]}', encoding="utf-8")
    (faq,) = FaqSet.load(path)
    assert (faq.question, faq.answer) == ("我的包裹在哪里？ 📦", "في الطريق")


def test_the_hash_changes_with_any_text_that_retrieval_depends_on_and_with_no_other() -> None:
    faq = Faq("a", "Who?", "Me.", "people")
    sha256 = FaqSet((faq,)).sha256
    for change in ({"id": "b"}, {"question": "Who"}, {"answer": "Me"}):
        assert FaqSet((replace(faq, **change),)).sha256 != sha256
    assert FaqSet((replace(faq, category="other"),), Path("elsewhere.json")).sha256 == sha256
    assert FaqSet((Faq("a", "Who?", "Me."), Faq("b", "b", "b"))).sha256 != sha256


def test_an_faq_of_one_entry_answers_with_that_entry(
    write_faqs: WriteFaqs, cache_dir: Path, encoder: Encoder, cli: Cli
) -> None:
    path = write_faqs([("How do I pay?", "By card.")])
    retriever = Retriever.build(FaqSet.load(path), encoder=encoder, cache_dir=cache_dir)
    assert [hit.faq.id for hit in retriever.search("paying", top_k=3)] == ["0"]
    assert [hit["answer"] for hit in cli("ask", "paying", "--faqs", path, "--json").json["hits"]] == ["By card."]


def test_an_faq_of_10_000_entries_is_embedded_in_less_than_a_minute_of_computing_and_each_finds_itself(
    write_faqs: WriteFaqs, cache_dir: Path, encoder: Encoder
) -> None:
    path = write_faqs([(f"What is rule {n}?", f"Rule {n} applies.") for n in range(10_000)])
    start = time.process_time()  # not the clock: the machine may have other things to do
    retriever = Retriever.build(FaqSet.load(path), encoder=encoder, cache_dir=cache_dir)
    assert time.process_time() - start < 60
    for n in (0, 1234, 9999):
        hits = retriever.search(f"What is rule {n}?", top_k=10**6)
        assert len(hits) == 10_000
        assert hits[0].faq.id == str(n)
        assert hits[0].squared_l2 < 1e-5
