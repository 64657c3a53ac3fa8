"""Labelled queries are read as they are, or refused in a sentence that names the file, the line and the remedy."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import WriteFaqs

from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.queries import NOT_A_QUESTION, append_row, load_domains, load_queries, remove_row
from faqlab.text import write_text

FAQS = FaqSet(tuple(Faq(str(n), f"Question {n}?", "Answer.") for n in range(4)))

BAD = {
    "empty": (b"\n\n", "empty; the first row names the columns."),
    "a header alone": (b"query,relevant\n", "no queries; add some"),
    "an open quotation mark": (
        b'query,relevant\n"hi,0\nyo,1\n',
        "not CSV (unexpected end of data, line 3); close every",
    ),
    "JSON": (b'[{"query": "hi"}]\n', "unknown column"),
    "an unknown column": (
        b"query,relevant,lable\nhi,0,1\n",
        "unknown column 'lable' (expected id, query, relevant, kind",
    ),
    "no labels": (b"id,query\na,hi\n", "no column 'relevant' (expected id, query"),
    "a column twice": (b"query,query,relevant\nhi,ho,0\n", "two columns 'query'"),
    "a cell too many": (
        b"query,relevant\nhello,0\nshoes, ,1\n",
        "line 3 has 3 cells, the header 2; put quotation marks around a text",
    ),
    "a cell without a column": (
        b"query,relevant,\nred, 1,2 shoes\n",
        "line 2 has 3 cells, the header 3; put quotation marks",
    ),
    "a cell too few": (b"query,relevant\nhello,0\nshoes\n", "line 3 has 1 cells, the header 2"),
    "no query": (b"id,query,relevant\na,hi,0\nb, ,1\n", "line 3 (b) has no query; write one or delete the row."),
    "a query of control characters": (b"query,relevant\n\x01\x00,0\n", "line 2 (q1) has no query"),
    "an unknown id after a comma": (
        b'query,relevant\nhi,"0,22"\n',
        "line 2 (q1): the FAQ has no entry '22' (it has, for example, '2'); name",
    ),
    "an unknown id, after lines that are no rows": (
        b'query,relevant\n\n"hi,\nyou",0\nyo,nine\n',
        "line 5 (q2): the FAQ has no entry 'nine' (it has, for example, '0'); name your queries with --queries",
    ),
    "an unknown split": (
        b"query,relevant,split\nhi,0,dev\n",
        "line 2 (q1) has the split 'dev'; write tune or test",
    ),
    "a split in some rows": (
        b"query,relevant,split\nhi,0,tune\nyo,1,\n",
        "line 3 (q2) has the split ''; write tune or",
    ),
    "a label that is still to come": (b"query,relevant\nhi,TBD\n", "line 2 (q1): the FAQ has no entry 'TBD'"),
    "an id twice": (b"id,query,relevant\na,hi,0\na,yo,1\n", "two queries have the id 'a'; rename one."),
    "binary": (b"query,relevant\nhi\xff\0,0\n", "not UTF-8 (byte 17); save the file as UTF-8."),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_file_line_and_remedy(case: str, path: Path) -> None:
    content, expected = BAD[case]
    path.write_bytes(content)
    with pytest.raises(FaqlabError) as error:
        load_queries(path, FAQS)
    assert str(error.value).startswith(f"{path}: {expected}")


def test_a_file_that_cannot_be_read_is_named_with_what_to_set(path: Path) -> None:
    with pytest.raises(FaqlabError, match=r"no such file; name your queries with --queries or FAQLAB_QUERIES\."):
        load_queries(path, FAQS)


def test_two_columns_are_enough(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbfquery,relevant\r\n"hello, you",0  2 0\r\n\r\nNA,\r\n')
    table = load_queries(path, FAQS)
    assert table["id"].tolist() == ["q1", "q2"]
    assert table["query"].tolist() == ["hello, you", "NA"]
    assert table["relevant"].tolist() == [("0", "2"), ()]
    assert table["answerable"].tolist() == [True, False]
    assert table["kind"].tolist() == ["answerable", "out_of_scope"]


def test_spaces_around_the_name_of_a_column_are_ignored(path: Path) -> None:
    path.write_text(" query ,relevant\t, split\nhi,0,test\n")
    assert load_queries(path, FAQS, "test")["query"].tolist() == ["hi"]


@pytest.mark.parametrize(
    ("cell", "relevant"),
    [
        ('"0,3"', ("0", "3")),
        ("0; 3", ("0", "3")),
        ("0\u00a03", ("0", "3")),
        ("3.0", ("3",)),
        ("v1.0; 3.0", ("v1.0", "3")),
        ('"uk,eu 3"', ("uk,eu", "3")),
        ("NaN", ()),
        ("None", ()),
        ("question  3?", ("3",)),
        ("Question 3?|QUESTION 0?", ("3", "0")),
        ("gift  card", ("gift-card",)),  # the id "gift card" of the FAQ
        ('"3, gift card"', ("3", "gift-card")),
        ("card gift", ("card", "gift")),
    ],
)
def test_labels_are_read_for_what_they_mean(cell: str, relevant: tuple[str, ...], path: Path) -> None:
    path.write_text(f"query,relevant\nhello,{cell}\n", encoding="utf-8")
    odd = tuple(Faq(faq_id, f"{faq_id}?", "Answer.") for faq_id in ("v1.0", "uk,eu", "gift", "card", "gift card"))
    assert load_queries(path, FaqSet((*FAQS.entries, *odd)))["relevant"].tolist() == [relevant]


@pytest.mark.parametrize(
    "content",
    [
        b"SEP=;\r\nquery;relevant\r\nhi, caf\xe9;3\r\n",
        'query,relevant,,\n"hi, café",3,,\n,,,\n'.encode(),
        ',query,relevant\n0,"hi, café",3\n'.encode(),
        "query\trelevant\tsplit\rhi, café\t3\ttrain\r".encode("utf-16"),
    ],
)
def test_a_file_is_read_as_spreadsheets_write_it(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    table = load_queries(path, FAQS, "tune")
    assert table[["query", "relevant"]].to_numpy().tolist() == [["hi, café", ("3",)]]


def test_a_sheet_is_read_with_its_empty_columns_and_rows_and_numbers(tmp_path: Path) -> None:
    rows = [["Question", None, "Label"], ["hi", None, 3], [None] * 3, ["ho", None, None], ["hey", None, "Question 0?"]]
    pd.DataFrame(rows).to_excel(tmp_path / "mine.xlsx", index=False, header=False)
    table = load_queries(tmp_path / "mine.xlsx", FAQS)
    assert table[["query", "relevant"]].to_numpy().tolist() == [["hi", ("3",)], ["ho", ()], ["hey", ("0",)]]


def test_the_sheet_with_queries_is_read_though_that_of_the_faq_is_longer(tmp_path: Path) -> None:
    with pd.ExcelWriter(tmp_path / "mine.xlsx") as book:
        pd.DataFrame([["a?", "Yes."]] * 5, columns=["Question", "Answer"]).to_excel(book, sheet_name="FAQ", index=False)
        pd.DataFrame([["hi", 3]], columns=["Query", "FAQ_ID"]).to_excel(book, sheet_name="Queries", index=False)
    assert load_queries(tmp_path / "mine.xlsx", FAQS)["relevant"].tolist() == [("3",)]


def test_a_question_with_a_line_end_or_a_bar_is_a_label(path: Path) -> None:
    asked = ["Visa | Mastercard?", "How long\ndoes it take?", "Where?"]
    faqs = FaqSet(tuple(Faq(str(n), question, "Answer.") for n, question in enumerate(asked)))
    cells = [*asked, "Where?|How long\ndoes it take?", "Where?\nHow long does it take?"]
    path.write_text("\n".join(["query,relevant", *(f'hello {n},"{cell}"' for n, cell in enumerate(cells))]))
    assert load_queries(path, faqs)["relevant"].tolist() == [("0",), ("1",), ("2",), ("2", "1"), ("2", "1")]


def test_a_question_that_two_categories_have_is_refused_with_how_to_write_it(path: Path) -> None:
    faqs = FaqSet(tuple(Faq(of[0], f"Is it free? ({of})", "Yes.") for of in ("Shipping", "Returns")))
    path.write_text("query,relevant\nhello,Is it free?\n")
    with pytest.raises(
        FaqlabError, match=r"no entry 'Is it free\?' \(it has, for example, 'Is it free\? \((?:Shipping|Returns)\)'\)"
    ):
        load_queries(path, faqs)
    path.write_text("query,relevant\nhello,Is it free? (Returns)\n")
    assert load_queries(path, faqs)["relevant"].tolist() == [("R",)]


def test_an_empty_id_is_filled_in_and_a_split_may_be_in_capitals(path: Path) -> None:
    path.write_text("id,query,relevant,split\n,hi,0,Test\nmine,yo,1,TRAIN\n,ho,2,test\n")
    assert load_queries(path, FAQS)[["id", "split"]].to_numpy().tolist() == [
        ["q1", "test"],
        ["mine", "tune"],
        ["q3", "test"],
    ]


def test_a_label_that_is_no_question_of_the_faq_is_named_whole(path: Path) -> None:
    path.write_text("query,relevant\nhello,How do I pay?\n")
    with pytest.raises(
        FaqlabError, match=r"line 2 \(q1\): the FAQ has no entry 'How do I pay\?' \(it has, for example"
    ):
        load_queries(path, FAQS)


@pytest.mark.parametrize(("column", "problem"), [("query", "two columns 'query'"), ("x", "unknown column 'x'")])
def test_a_header_of_many_columns_takes_no_longer_than_its_length(column: str, problem: str, path: Path) -> None:
    """Comparing each with each would take hours, and so run into pytest's timeout."""
    path.write_text(",".join(["relevant", *[column] * 1_000_000]))
    with pytest.raises(FaqlabError, match=problem):
        load_queries(path, FAQS)


def test_a_split_is_chosen_and_a_file_without_splits_is_used_whole(path: Path) -> None:
    path.write_text("id,query,relevant,split\na,hi,0,tune\nb,yo,1,test\n")
    assert [load_queries(path, FAQS, split)["id"].tolist() for split in (None, "tune", "test")] == [
        ["a", "b"],
        ["a"],
        ["b"],
    ]
    for content in ("query,relevant\nhi,0\nyo,1\n", "query,relevant,split\nhi,0,\nyo,1,\n"):
        path.write_text(content)
        assert len(load_queries(path, FAQS, "test")) == 2
    path.write_text("query,relevant,split\nhi,0,tune\n")
    with pytest.raises(FaqlabError, match="no queries in the split 'test'; add some"):
        load_queries(path, FAQS, "test")


def test_a_long_query_is_read_whole(path: Path) -> None:
    path.write_text(f"query,relevant\n{'parcel ' * 50_000}now,0\n")
    assert len(load_queries(path, FAQS)["query"][0]) == 350_003


def test_a_folder_of_domains_is_read_by_name(tmp_path: Path, write_faqs: WriteFaqs) -> None:
    for name in ("hotel", "gym"):
        write_faqs(name=f"domains/{name}.json").with_suffix(".csv").write_text("query,relevant\nhi,3\n")
    domains = load_domains(tmp_path / "domains")
    assert list(domains) == ["gym", "hotel"]
    faqs, queries = domains["gym"]
    assert (len(faqs), queries["relevant"].tolist()) == (4, [("3",)])


# Rows that are appended


ROW = {"query": "how much is it", "relevant": "0 3", "kind": "call", "source": "call lookup_1"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"query,relevant\nhi,0\n", b"query,relevant\nhi,0\nhow much is it,0 3\n"),
        (b"query,relevant\nhi,0", b"query,relevant\nhi,0\nhow much is it,0 3\n"),
        (
            b"relevant;source;query\r\n0;;hi\r\n",
            b"relevant;source;query\r\n0;;hi\r\n0 3;call lookup_1;how much is it\r\n",
        ),
        (b"\xef\xbb\xbfquery\trelevant\nhi\t0\n", b"\xef\xbb\xbfquery\trelevant\nhi\t0\nhow much is it\t0 3\n"),
        (b"sep=;\nquery;relevant\nhi;0\n", b"sep=;\nquery;relevant\nhi;0\nhow much is it;0 3\n"),
        (
            ",query,relevant\n0,caf\xe9,0\n".encode("cp1252"),
            "\ufeff,query,relevant\n0,café,0\n,how much is it,0 3\n".encode(),
        ),
        (b"query,relevant,split\nhi,0,\n", b"query,relevant,split\nhi,0,\nhow much is it,0 3,\n"),
    ],
)
def test_a_row_is_appended_in_the_files_own_format_and_removed_again(path: Path, before: bytes, after: bytes) -> None:
    path.write_bytes(before)
    line = append_row(path, ROW, FAQS)
    assert path.read_bytes() == after
    assert load_queries(path, FAQS)["relevant"].tolist()[-1] == ("0", "3")
    remove_row(path, line, FAQS)
    assert len(load_queries(path, FAQS)) == 1


def test_a_new_file_has_all_columns_and_a_query_always_gets_the_same_split(path: Path) -> None:
    path.write_text("id,query,relevant,kind,split,source\n")
    for number in range(200):
        append_row(path, {**ROW, "query": f"question {number}"}, FAQS)
    table = load_queries(path, FAQS)
    assert 70 < (table["split"] == "test").sum() < 130
    assert table["id"].is_unique
    splits = dict(zip(table["query"], table["split"], strict=True))
    path.unlink()
    path.write_text("id,query,relevant,kind,split,source\n")
    for number in range(200):
        append_row(path, {**ROW, "query": f" Question {number}?"}, FAQS)
    assert load_queries(path, FAQS)["split"].tolist() == list(splits.values())


def test_what_is_not_a_question_stays_in_the_file_and_is_left_out(path: Path) -> None:
    path.write_text("id,query,relevant,kind,split,source\n")
    append_row(path, ROW, FAQS)
    append_row(path, {**ROW, "query": "um, okay", "relevant": "", "kind": NOT_A_QUESTION}, FAQS)
    assert load_queries(path, FAQS)["query"].tolist() == ["how much is it"]
    assert "um, okay" in path.read_text()


@pytest.mark.parametrize(
    ("content", "change", "problem"),
    [
        ("query,relevant\nHow much is it?,0\n", {}, "this query is there already"),
        ("query,relevant\nhi,0\n", {"kind": NOT_A_QUESTION}, "add a column 'kind'"),
        ("question,answer\nhi,0\n", {}, "unknown column 'answer'"),
    ],
)
def test_a_row_that_cannot_be_appended_changes_nothing(
    path: Path, content: str, change: dict[str, str], problem: str
) -> None:
    path.write_text(content)
    with pytest.raises(FaqlabError, match=problem):
        append_row(path, {**ROW, **change}, FAQS)
    assert path.read_text() == content


def test_only_the_last_row_is_removed_and_only_if_it_is_the_one(path: Path) -> None:
    path.write_text("query,relevant\noh hi,0\n")
    with pytest.raises(FaqlabError, match="the last row isn't this label any more"):
        remove_row(path, "hi,0\n", FAQS)
    assert path.read_text() == "query,relevant\noh hi,0\n"


def test_a_query_that_a_spreadsheet_would_run_is_saved_as_text(path: Path) -> None:
    path.write_text("id,query,relevant,kind,split,source\n")
    append_row(path, {**ROW, "query": '=HYPERLINK("http://example.com")'}, FAQS)
    assert load_queries(path, FAQS)["query"].tolist() == ['\'=HYPERLINK("http://example.com")']


def test_signs_before_a_query_stay_behind_an_apostrophe_and_the_query_is_there_once(path: Path) -> None:
    path.write_text("id,query,relevant,kind,split,source\n")
    for query in ("-10 degrees", "+44 20 1234", "@home", "-"):
        append_row(path, {**ROW, "query": query}, FAQS)
        with pytest.raises(FaqlabError, match="there already"):
            append_row(path, {**ROW, "query": query}, FAQS)
    assert load_queries(path, FAQS)["query"].tolist() == ["'-10 degrees", "'+44 20 1234", "'@home", "'-"]


@pytest.mark.parametrize(
    ("content", "change", "problem"),
    [
        ("query,relevant\nhi,0\nbroken,nope\n", {}, r"mine\.csv: line 3 \(q2\): the FAQ has no entry 'nope'"),
        ("query,relevant\nhi,0\n", {"query": " "}, r"mine\.csv: line 3 \(q2\) has no query"),
        ("query,relevant\nhi,0\n", {"relevant": "nine"}, r"mine\.csv: line 3 \(q2\): the FAQ has no entry 'nine'"),
        ('query,relevant\n"hi,0\n', {}, r"mine\.csv: not CSV"),
    ],
)
def test_what_the_loader_would_refuse_is_not_appended(
    content: str, change: dict[str, str], problem: str, path: Path
) -> None:
    path.write_text(content)
    with pytest.raises(FaqlabError, match=problem) as error:
        append_row(path, {**ROW, **change}, FAQS)
    assert str(error.value).startswith(f"{path}: ")
    assert path.read_text() == content
    assert [*path.parent.iterdir()] == [path]


def test_a_row_of_a_file_that_has_a_mistake_is_not_removed(path: Path) -> None:
    path.write_text("query,relevant\nbroken,nope\nhi,0\n")
    with pytest.raises(FaqlabError, match=r"line 2 \(q1\): the FAQ has no entry 'nope'"):
        remove_row(path, "hi,0\n", FAQS)
    assert path.read_text() == "query,relevant\nbroken,nope\nhi,0\n"


def test_a_private_file_stays_private_and_one_that_cannot_be_written_is_a_sentence(path: Path, tmp_path: Path) -> None:
    path.write_text("id,query,relevant,kind,split,source\n")
    path.chmod(0o600)
    append_row(path, ROW, FAQS)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FaqlabError, match="can't be written"):
        write_text(path / "mine.csv", "x", "")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.csv"]
