"""Labelled queries are read as they stand, or refused in a sentence that names the file, the line and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli, WriteFaqs, assert_one_sentence

from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.queries import load_queries

FAQS = FaqSet(tuple(Faq(str(n), f"Question {n}?", "Answer.") for n in range(4)))

BAD = {
    "no bytes at all": (b"", ["empty", "the first row names the columns: id, query, relevant"]),
    "blank lines only": (b"\n\n\n", ["empty", "the first row names the columns"]),
    "a header only": (b"query,relevant\n", ["no queries", "add some"]),
    "an open quotation mark": (b'query,relevant\n"hi,0\nyo,1\n', ["not a CSV", "close each quotation mark"]),
    "JSON": (b'\n[{\n  "query": "hi"\n}]\n', ["looks like JSON", "expected a CSV file whose first row"]),
    "an FAQ": (b'{"questions": [\n{"question": "hi"}]}\n', ["looks like JSON", "expected a CSV file"]),
    "semicolons": (b'\nquery;relevant\n"hi; you";0\n', ["parted by semicolons or tabs", "with commas between"]),
    "tabs": (b"query\trelevant\nhi\t0\n", ["parted by semicolons or tabs", "with commas between"]),
    "the queries of another FAQ": (
        b"query,relevant\nhi,opening-hours\nyo,tickets\nno,\n",
        [
            "line 2 (q1)",
            "no FAQ with the id 'opening-hours'",
            "ids like '0': name the queries of this FAQ by --queries",
        ],
    ),
    "an unknown column": (
        b"query,relevant,lable\nhi,0,1\n",
        ["unknown column 'lable'", "expected id, query, relevant"],
    ),
    "a column twice": (b"query,query,relevant\nhi,ho,0\n", ["the column 'query' stands twice", "delete one"]),
    "no query column": (b"id,relevant\na,0\n", ["no column 'query'", "expected id, query, relevant"]),
    "no relevant column": (b"id,query\na,hi\n", ["no column 'relevant'", "expected id, query, relevant"]),
    "a row with a cell too many": (
        b"query,relevant\nhello,0\nshoes, ,1\n",
        ["line 3 has 3 cells, the header 2", "in quotation marks"],
    ),
    "a first row with a cell too many": (b"query,relevant\nshoes, ,1\n", ["line 2 has 3 cells, the header 2"]),
    "a row with a cell too few": (b"query,relevant\nhello,0\nshoes\n", ["line 3 has 1 cells, the header 2"]),
    "an empty query": (
        b"id,query,relevant\na,hi,0\nb, ,1\n",
        ["line 3 (b) has no query", "write one or delete the row"],
    ),
    "a query of control characters": (b"query,relevant\n\x01\x00,0\n", ["line 2 (q1) has no query", "write one"]),
    "ids parted by commas": (
        b'query,relevant\nhi,"0,2"\n',
        ["line 2 (q1)", "no FAQ with the id '0,2'", "which has ids like '0'", "mend the label"],
    ),
    "an unknown id": (
        b"id,query,relevant\na,hi,0 nine\n",
        ["line 2 (a)", "no FAQ with the id 'nine'", "mend the label, or name the queries of this FAQ by --queries"],
    ),
    "an unknown split": (
        b"query,relevant,split\nhi,0,train\n",
        ["line 2", "the split 'train' is unknown", "tune or test"],
    ),
    "a split in some rows only": (
        b"query,relevant,split\nhi,0,tune\nyo,1,\n",
        ["line 3 (q2) has no split", "write tune or test, or leave the column out"],
    ),
    "an unknown id after a blank line and a query of two": (
        b'query,relevant\n\n"hi,\nyou",0\nyo,nine\n',
        ["line 5 (q2)", "no FAQ with the id 'nine'"],
    ),
    "an id twice": (b"id,query,relevant\na,hi,0\na,yo,1\n", ["the id 'a' stands twice", "rename one"]),
    "Latin-1": ("query,relevant\nfür,0\n".encode("latin-1"), ["not UTF-8 (byte 16)", "save the file as UTF-8"]),
    "UTF-16": ("query,relevant\nhi,0\n".encode("utf-16"), ["not UTF-8 (byte 0)", "save the file as UTF-8"]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_sentence_that_names_file_line_and_remedy(
    case: str, path: Path, write_faqs: WriteFaqs, cli: Cli
) -> None:
    content, expected = BAD[case]
    path.write_bytes(content)
    with pytest.raises(FaqlabError) as error:
        load_queries(path, FAQS)
    for part in [f"{path}: ", *expected]:
        assert part in str(error.value)
    run = cli("evaluate", "--faqs", write_faqs(), "--queries", path)
    assert_one_sentence(run)
    for part in [f"{path}: ", *expected]:
        assert part in run.err


def test_a_file_that_is_not_there_is_named_with_what_to_set(path: Path, write_faqs: WriteFaqs, cli: Cli) -> None:
    with pytest.raises(FaqlabError, match=r"mine\.csv: no such file: name your queries by --queries or FAQLAB_QUERIES"):
        load_queries(path, FAQS)
    assert_one_sentence(cli("evaluate", "--faqs", write_faqs(), "--queries", path))


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path, write_faqs: WriteFaqs, cli: Cli) -> None:
    with pytest.raises(FaqlabError, match=r"cannot be read .*: name your queries by --queries"):
        load_queries(tmp_path, FAQS)
    assert_one_sentence(cli("evaluate", "--faqs", write_faqs(), "--queries", tmp_path))


def test_a_split_without_a_query_is_refused_by_name(path: Path) -> None:
    path.write_text("query,relevant,split\nhi,0,tune\n")
    with pytest.raises(FaqlabError, match="no queries in the split 'test': add some"):
        load_queries(path, FAQS, "test")


def test_two_columns_are_enough(path: Path) -> None:
    path.write_text('query,relevant\n"hello, you",0  2 0\nbye,\n')
    table = load_queries(path, FAQS)
    assert table["id"].tolist() == ["q1", "q2"]
    assert table["query"].tolist() == ["hello, you", "bye"]
    assert table["relevant"].tolist() == [("0", "2"), ()]
    assert table["answerable"].tolist() == [True, False]
    assert table["kind"].tolist() == ["answerable", "out_of_scope"]


def test_a_split_is_chosen_and_a_file_without_splits_is_used_whole(path: Path) -> None:
    path.write_text("id,query,relevant,split\na,hi,0,tune\nb,yo,1,test\n")
    assert load_queries(path, FAQS)["id"].tolist() == ["a", "b"]
    assert load_queries(path, FAQS, "tune")["id"].tolist() == ["a"]
    assert load_queries(path, FAQS, "test")["id"].tolist() == ["b"]
    path.write_text("id,query,relevant\na,hi,0\nb,yo,1\n")
    assert load_queries(path, FAQS, "test")["id"].tolist() == ["a", "b"]


def test_a_byte_order_mark_and_line_ends_of_windows_are_accepted(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfquery,relevant\r\nhi,0\r\n\r\nyo,1\r\n")
    assert load_queries(path, FAQS)["relevant"].tolist() == [("0",), ("1",)]


def test_a_query_of_any_length_is_read_whole(path: Path) -> None:
    path.write_text(f"query,relevant\n{'parcel ' * 50_000},0\n")
    assert len(load_queries(path, FAQS)["query"][0]) == 350_000


def test_a_column_of_splits_that_is_empty_is_as_if_left_out(path: Path) -> None:
    path.write_text("query,relevant,split\nhi,0,\nyo,1,\n")
    assert len(load_queries(path, FAQS, "test")) == 2


def test_what_looks_like_a_missing_value_stays_text(path: Path) -> None:
    path.write_text("query,relevant\nNA,0\nnull,1\n007,2\n")
    assert load_queries(path, FAQS)["query"].tolist() == ["NA", "null", "007"]
