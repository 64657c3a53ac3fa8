"""An FAQ file is read as it is, or refused in a sentence that names the file, the entry and what is expected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faqlab.errors import FaqlabError
from faqlab.faqs import READERS, Faq, FaqSet

GOOD = {"question": "How do I pay?", "answer": "By card."}


def entries(*raw: Any) -> bytes:
    return json.dumps({"questions": list(raw)}).encode()


BAD = {
    "cut off": (b'{"questions": [', "Invalid JSON: EOF"),
    "empty": (b"", "Invalid JSON"),
    "nested too deeply": (b"[" * 100_000, "Invalid JSON: recursion limit"),
    "damaged UTF-8": ('{"questions": "für f'.encode() + b"\xfc", "not UTF-8 (byte 21); save the file as UTF-8."),
    "binary": (b'{"questions": "\xff\0"', "not UTF-8 (byte 15); save the file as UTF-8."),
    "half of UTF-16": (entries(GOOD).decode().encode("utf-16")[:-1], "not UTF-8 (byte "),
    "half a character": (entries({**GOOD, "question": "A\ud83d"}), "Invalid JSON"),
    "a list of entries": (b"[" + json.dumps(GOOD).encode() + b"]", "Input should be an object; expected {"),
    "a text": (b'"questions"', "Input should be an object; expected {"),
    "another key": (b'{"faqs": []}', "questions: field required"),
    "no entries": (entries(), "questions: none; add at least one"),
    "questions that are no list": (b'{"questions": {"question": "a"}}', "questions: expected a list"),
    "an entry that is text": (entries(GOOD, "hello"), "question 1 (counted from 0): input should be an object"),
    "no answer": (
        entries(GOOD, {"question": "Who?"}),
        "question 1 (counted from 0): answer: field required; expected {",
    ),
    "an empty answer": (
        entries(GOOD, {"question": "Who?", "answer": " "}),
        "question 1 (counted from 0): answer: empty",
    ),
    "an answer of control characters": (
        entries({"question": "Who?", "answer": "\0\u200b"}),
        "question 0 (counted from 0): answer: empty",
    ),
    "an answer that is a number": (
        entries({**GOOD, "answer": 5}),
        "question 0 (counted from 0): answer: input should be a valid string",
    ),
    "an id of two words": (
        entries({**GOOD, "id": "a b"}),
        "question 0 (counted from 0): id: an id can't contain spaces",
    ),
    "an id that is a list": (
        entries({**GOOD, "id": []}),
        "question 0 (counted from 0): id: input should be a valid string",
    ),
    "an empty id": (entries({**GOOD, "id": ""}), "question 0 (counted from 0): id: empty"),
    "a category that is a number": (
        entries({**GOOD, "category": 3}),
        "question 0 (counted from 0): category: input should be",
    ),
    "an id that is another's position": (
        entries({**GOOD, "id": 1}, {"question": "Who?", "answer": "Me."}),
        "questions: 0 and 1 (counted from 0) have the same id '1': rename or merge them",
    ),
    "alternatives that are no list": (
        entries({**GOOD, "alternatives": "payment"}),
        "question 0 (counted from 0): alternatives: input should be a list of texts",
    ),
    "an alternative that is another's question": (
        entries(GOOD, {"question": "Who?", "answer": "Me.", "alternatives": ["How do I pay?"]}),
        "questions: 0 and 1 (counted from 0) have the same question 'how do i pay?'",
    ),
    "one question twice": (
        entries(GOOD, {"question": "how  do I PAY?", "answer": "Cash."}),
        "questions: 0 and 1 (counted from 0) have the same question 'how do i pay?'",
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
    assert str(error.value).endswith('expected {"questions": [{"question": "…", "answer": "…"}, …]}.')


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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings_are_read(encoding: str, path: Path) -> None:
    path.write_text('{"questions": [{"question": "Café?", "answer": "5 €"}]}', encoding=encoding)
    assert FaqSet.load(path).entries == (Faq("0", "Café?", "5 €"),)


def test_any_script_is_read(path: Path) -> None:
    path.write_text('{"questions": [{"question": "我的包裹在哪里？ 📦", "answer": "في الطريق"}]}', encoding="utf-8")
    assert FaqSet.load(path).entries == (Faq("0", "我的包裹在哪里？ 📦", "في الطريق"),)


def test_another_format_is_one_more_reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(text: str) -> dict[str, Any]:
        return {
            "questions": [
                dict(zip(("question", "answer"), line.split("\t"), strict=True)) for line in text.splitlines()
            ]
        }

    monkeypatch.setitem(READERS, ".tsv", read)
    path.with_suffix(".TSV").write_text("How do I pay?\tBy card.\nWho?\tMe.\n")
    assert FaqSet.load(path.with_suffix(".TSV")).entries == (
        Faq("0", "How do I pay?", "By card."),
        Faq("1", "Who?", "Me."),
    )


def test_the_hash_depends_on_the_texts_that_retrieval_uses_and_on_no_other() -> None:
    faq = Faq("a", "Who?", "Me.", "people")
    sha256 = FaqSet((faq,)).sha256
    for change in ({"id": "b"}, {"question": "Who"}, {"answer": "Me"}):
        assert FaqSet((replace(faq, **change),)).sha256 != sha256
    assert FaqSet((replace(faq, category="other"),), Path("elsewhere.json")).sha256 == sha256
