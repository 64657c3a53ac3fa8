"""An FAQ file is read as it is, or refused in a sentence that names the file, the entry and what is expected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.replies import clarifying_question
from faqlab.text import normalised

GOOD = {"question": "How do I pay?", "answer": "By card."}


def entries(*raw: Any) -> bytes:
    return json.dumps({"questions": list(raw)}).encode()


WHO = {"question": "Who?", "answer": "Me."}
NOTHING = "no questions and answers found; expected {"
BAD = {
    "cut off": (b'{"questions": [', "not JSON (Expecting value: line 1 column 16 (char 15)); correct it."),
    "empty": (b"", NOTHING),
    "nested too deeply": (b"[" * 100_000, "not JSON (maximum recursion depth exceeded"),
    "damaged UTF-8": ('{"questions": "für f'.encode() + b"\xfc", "not UTF-8 (byte 21); save the file as UTF-8."),
    "binary": (b'{"questions": "\xff\0"', "not UTF-8 (byte 15); save the file as UTF-8."),
    "half of UTF-16": (entries(GOOD).decode().encode("utf-16")[:-1], "not UTF-8 (byte "),
    "a text": (b'"questions"', NOTHING),
    "no entries": (entries(), NOTHING),
    "questions and no answers": (entries({"title": "Who?"}), NOTHING),
    "no answer": (
        entries(GOOD, {"question": "Who?"}),
        "question no. 2: answer: missing, or only a placeholder; expected {",
    ),
    "a null answer": (
        entries({"question": "Who?", "answer": None}, GOOD),
        "question no. 1: answer: missing, or only a placeholder",
    ),
    "an empty answer": (
        entries(GOOD, {"question": "Who?", "answer": " "}),
        "question no. 2: answer: missing, or only a placeholder",
    ),
    "a text among the entries": (
        entries("How do I pay?", WHO),
        "question no. 1: answer: missing, or only a placeholder; expected {",
    ),
    "an answer and no question": (
        entries({"answer": "Me."}),
        "question no. 1: question: missing, or only a placeholder",
    ),
    "an answer of control characters": (
        entries({"question": "Who?", "answer": "\0\u200b"}),
        "question no. 1: answer: missing, or only a placeholder",
    ),
    "an id that is another's position": (
        entries({**GOOD, "id": 1}, WHO),
        "question no. 1 and question no. 2 have the same id '1': merge them, or give each another question, id or",
    ),
    "an alternative that is another's question": (
        entries(GOOD, {**WHO, "alternatives": ["How do I pay?"]}),
        "question no. 1 and question no. 2 have the same question 'How do I pay?'",
    ),
    "one question twice": (
        entries(GOOD, {"question": "how  do I PAY?", "answer": "Cash."}),
        "question no. 1 and question no. 2 have the same question 'How do I pay?': merge them",
    ),
    "one question twice in one category": (
        entries(*({**GOOD, "answer": answer, "category": "a"} for answer in "xy")),
        "question no. 1 and question no. 2 have the same question 'How do I pay? (a)'",
    ),
    "four questions twice": (
        entries(*({"question": f"{letter}?", "answer": n} for letter in "ABCD" for n in (1, 2))),
        "question no. 1 and question no. 2 have the same question 'A?'; "
        "question no. 3 and question no. 4 have the same question 'B?'; "
        "and 2 more such groups: merge them",
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.json"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_file_entry_and_what_is_expected(case: str, path: Path) -> None:
    content, expected = BAD[case]
    path.write_bytes(content)
    with pytest.raises(FaqlabError) as error:
        FaqSet.load(path)
    assert str(error.value).startswith(f"{path}: {expected}")


def test_a_file_that_cannot_be_read_is_named_with_what_to_set(path: Path) -> None:
    with pytest.raises(FaqlabError, match=r"mine\.json: no such file; name your FAQ with --faqs or FAQLAB_FAQS\."):
        FaqSet.load(path)
    with pytest.raises(FaqlabError, match=r"can't be read \(Is a directory\); name your FAQ with --faqs"):
        FaqSet.load(path.parent)


def test_a_huge_value_does_not_make_a_huge_message(path: Path) -> None:
    path.write_bytes(entries({**GOOD, "id": "x" * 9_999}, {"question": "Who?", "answer": "Me.", "id": "x" * 9_999}))
    with pytest.raises(FaqlabError) as error:
        FaqSet.load(path)
    assert len(str(error.value)) == 300
    assert str(error.value).endswith("xx': merge them, or give each another question, id or category.")


def test_ids_are_optional_may_be_numbers_and_default_to_the_position(path: Path) -> None:
    more = {"question": " Who? ", "answer": "\nMe.\n", "id": 17, "category": " people ", "ignored": [1]}
    more["alternatives"] = [" your name ", "who?"]
    path.write_bytes(b"\xef\xbb\xbf" + entries(GOOD, more, {"question": "b", "answer": "b"}))  # a byte order mark
    faqs = FaqSet.load(path)
    assert faqs.ids == ["0", "17", "2"]
    assert list(faqs)[:2] == [
        Faq("0", "How do I pay?", "By card."),
        Faq("17", "Who?", "Me.", "people", ("your name", "who?")),
    ]
    assert (faqs["17"].question, faqs.position["17"], len(faqs)) == ("Who?", 1, 3)
    path.write_bytes(entries({**GOOD, "id": " opening  hours "}))  # labels separate ids by spaces
    assert FaqSet.load(path).ids == ["opening-hours"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_other_encodings_are_read(encoding: str, path: Path) -> None:
    path.write_text('{"questions": [{"question": "Café?", "answer": "5 €"}]}', encoding=encoding)
    assert FaqSet.load(path).entries == (Faq("0", "Café?", "5 €"),)


def test_any_script_is_read(path: Path) -> None:
    path.write_text('{"questions": [{"question": "我的包裹在哪里？ 📦", "answer": "في الطريق"}]}', encoding="utf-8")
    assert FaqSet.load(path).entries == (Faq("0", "我的包裹在哪里？ 📦", "في الطريق"),)


def test_half_a_character_is_replaced_because_nothing_can_print_it(path: Path) -> None:
    path.write_bytes(entries({**GOOD, "question": "A\ud83d"}))
    assert FaqSet.load(path).entries[0].question == "A?"
    path.write_text(json.dumps({"A\ud83d": [GOOD]}))
    assert FaqSet.load(path).entries[0].category == "A?"


def test_an_entry_that_stands_there_twice_is_used_once_and_this_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(entries(GOOD, WHO, {"id": "again", "question": "how do I  pay?", "answer": "By card. "}))
    for _ in range(2):
        assert FaqSet.load(path).ids == ["0", "1"]
    assert caplog.messages == [f"{path}: 1 entries repeat a question and its answer; they are left out."]


def test_a_question_with_an_answer_in_each_category_gets_the_category(path: Path) -> None:
    path.write_bytes(entries({**GOOD, "category": "tickets"}, {**GOOD, "answer": "Cash.", "category": "café"}, WHO))
    faqs = FaqSet.load(path)
    assert [faq.question for faq in faqs] == ["How do I pay? (tickets)", "How do I pay? (café)", "Who?"]
    assert faqs.phrasings[normalised("how do I pay? (CAFÉ)")] == "1"
    words = [faq.question for faq in faqs][:2]
    assert clarifying_question(words).endswith("How do I pay? … One: (tickets)? Two: (café)?")


def test_a_written_faq_is_the_same_when_read_and_never_replaces_a_file(path: Path, tmp_path: Path) -> None:
    path.write_bytes(entries({**GOOD, "alternatives": ["payment"], "category": "c"}, {**WHO, "id": "me"}))
    faqs = FaqSet.load(path)
    faqs.save(tmp_path / "new.json")
    assert FaqSet.load(tmp_path / "new.json").entries == faqs.entries
    with pytest.raises(FaqlabError, match=r"new\.json: can't be written \(File exists\); name a new file with -o\."):
        faqs.save(tmp_path / "new.json")


def test_the_hash_depends_on_the_texts_that_retrieval_uses_and_on_no_other() -> None:
    faq = Faq("a", "Who?", "Me.", "people")
    sha256 = FaqSet((faq,)).sha256
    for change in ({"id": "b"}, {"question": "Who"}, {"answer": "Me"}):
        assert FaqSet((replace(faq, **change),)).sha256 != sha256
    assert FaqSet((replace(faq, category="other"),), Path("elsewhere.json")).sha256 == sha256
