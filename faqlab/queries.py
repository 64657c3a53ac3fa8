"""Labelled queries: what callers ask, and which entries of the FAQ answer it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from faqlab.cache import sha256, write_aside
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.text import clean_query, is_blank, read_text, replace_surrogates

COLUMNS = ("id", "query", "relevant", "kind", "split")
IN_FILES = (*COLUMNS, "source")
SPLITS = ("tune", "test")
NOT_A_QUESTION = "not_a_question"
"""The kind of what isn't a question: it stays in the file, so that nobody has to label it again, and isn't used."""
REMEDY = "name your queries with --queries or FAQLAB_QUERIES"


def load_queries(path: str | Path, faqs: FaqSet, split: str | None = None) -> pd.DataFrame:
    """
    Read labelled queries from a CSV file; its `id`, `kind`, `split` and `source` are optional.

    `relevant` holds the ids of the entries of *faqs* that answer the query, separated by spaces, commas or semicolons;
    it's empty if the query is out of scope. With *split*, only the queries of `tune` or `test` are kept; a file without
    splits is used whole.

    Returns:
        One row per query, in the order of the file: the `COLUMNS`, `relevant` as a tuple, and `answerable`.

    Raises:
        FaqlabError: The file can't be read, or something in it is missing, wrong or a duplicate.
    """
    table = read_rows(Path(path), faqs)
    table = table[table["kind"] != NOT_A_QUESTION]
    if split and (table["split"] != "").any():
        table = table[table["split"] == split]
    if table.empty:
        raise FaqlabError(f"{path}: no queries{f' in the split {split!r}' if split else ''}; add some.")
    return table[[*COLUMNS, "answerable"]].reset_index(drop=True)


def read_rows(path: Path, faqs: FaqSet) -> pd.DataFrame:
    """Return all rows of a queries file as `load_queries` does, checked, also those that are `NOT_A_QUESTION`."""
    table = _read_csv(path)
    table["relevant"] = [_labels(cell, faqs) for cell in table["relevant"]]
    table["answerable"] = table["relevant"].map(bool)
    kinds = table["answerable"].map({True: "answerable", False: "out_of_scope"})
    defaults = {"id": [f"q{n + 1}" for n in range(len(table))], "kind": kinds, "split": ""}
    table = pd.DataFrame({**defaults, **table}, table.index).replace({"split": {"train": "tune"}})
    _check_rows(path, table, faqs)
    return table


def normalised(query: str) -> str:
    """Return *query* without what doesn't make it another one: case, and spaces and signs at its ends."""
    return clean_query(query).casefold()


def append_row(path: Path, row: Mapping[str, str]) -> str:
    """
    Append *row*, texts by column, to a queries file and return its line; `id` and `split` are filled in.

    The same `normalised` query always gets the same split. The file keeps its columns, separator and line ends; what it
    has no column for is left out. FaqlabError if it has the query already, or can't be read or written.
    """
    table, text = _read_csv(path), read_text(path, REMEDY)
    query = " ".join(replace_surrogates(row["query"]).split()).lstrip("=+-@ ")  # with these, Excel sees a formula
    if normalised(query) in set(table["query"].map(normalised)):
        raise FaqlabError(f"{path}: this query is there already.")
    if row["kind"] == NOT_A_QUESTION and "kind" not in table:
        raise FaqlabError(f"{path}: add a column 'kind', in which it's noted that this isn't a question.")
    digest = sha256(normalised(query).encode())
    splits = table.empty or ("split" in table and table["split"].any())
    row = {**row, "query": query, "id": f"q-{digest[:10]}", "split": SPLITS[int(digest, 16) % 2] if splits else ""}
    cells, end = [row.get(name, "") for name in table.attrs["header"]], "\r\n" if "\r\n" in text else "\n"
    line = pd.DataFrame([cells]).to_csv(sep=table.attrs["separator"], header=False, index=False, lineterminator=end)
    write_rows(path, text + ("" if text.endswith(("\n", "\r")) else end) + line)
    return line


def remove_row(path: Path, line: str) -> None:
    """Remove *line* from the end of a queries file; FaqlabError if the file ends otherwise."""
    text = read_text(path, REMEDY)
    if not text.endswith(f"\n{line}"):
        raise FaqlabError(f"{path}: the last row isn't this label any more; remove it in the file.")
    write_rows(path, text.removesuffix(line))


def write_rows(path: Path, text: str = ",".join(IN_FILES) + "\n") -> None:
    """Write a queries file at once, so that it never holds half a row; FaqlabError if it can't be written."""
    try:
        # A file with a byte order mark, or in another encoding, gets a mark, by which Excel knows UTF-8.
        marked = path.exists() and path.read_bytes() != read_text(path, REMEDY).encode()
        write_aside(path, text.encode("utf-8-sig" if marked else "utf-8"))
    except OSError as error:
        raise FaqlabError(f"{path}: can't be written ({error.strerror}); {REMEDY}.") from None


def _read_csv(path: Path) -> pd.DataFrame:
    """Return the cells of the file as text, indexed by the line in which each row ends."""
    # pandas.read_csv fills short rows and shifts long ones, so that labels get lost without a warning.
    text = read_text(path, REMEDY)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = next(filter(str.strip, text.split("\n")), "")
    if first.strip('" ').casefold().startswith("sep="):  # Excel's own line
        text, first = text.replace(first, "", 1), first.strip('" ')[4:]
    csv.field_size_limit(2**31 - 1)
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = {line: row for row, line in ((row, reader.line_num) for row in reader) if not all(map(is_blank, row))}
    except csv.Error as error:
        remedy = 'close every quotation mark, and write "" for one inside a text'
        raise FaqlabError(f"{path}: not CSV ({error}, line {reader.line_num}); {remedy}.") from None
    if not rows:
        raise FaqlabError(f"{path}: empty; the first row names the columns: {', '.join(COLUMNS)}.")
    header = [column.strip() for column in rows.pop(min(rows))]
    named = [n for n, column in enumerate(header) if column]  # a spreadsheet's empty columns have no name
    problems = [f"unknown column {column!r}" for column in header if column not in (*IN_FILES, "")]
    problems += [f"no column {column!r}" for column in ("query", "relevant") if column not in header]
    problems += [f"two columns {column!r}" for column in IN_FILES if header.count(column) > 1]
    if problems:
        expected = f"expected {', '.join(COLUMNS)}; id, kind and split are optional"
        raise FaqlabError(f"{path}: {problems[0]} ({expected}).")
    for line, row in rows.items():
        unnamed = (cell for n, cell in enumerate(row) if n and n not in named)  # the first may count the rows
        if len(row) != len(header) or not all(map(is_blank, unnamed)):
            remedy = "put quotation marks around a query that contains a comma"
            raise FaqlabError(f"{path}: line {line} has {len(row)} cells, the header {len(header)}; {remedy}.")
    cells = [[row[n] for n in named] for row in rows.values()]
    table = pd.DataFrame(cells, index=list(rows), columns=[header[n] for n in named], dtype=str)
    table.attrs.update(header=header, separator=separator)  # for `append_row`
    return table


def _labels(cell: str, faqs: FaqSet) -> tuple[str, ...]:
    """Return the ids in *cell*; 3.0 means 3, and a spreadsheet's NaN means none."""
    ids = faqs.position
    if cell.strip().casefold() in ("nan", "none", "null") and cell.strip() not in ids:
        return ()
    words = [word for part in cell.split() for word in ([part] if part in ids else re.split("[,;]", part)) if word]
    return tuple(dict.fromkeys(word if word in ids else re.sub(r"(?<=\d)\.0$", "", word) for word in words))


def _check_rows(path: Path, table: pd.DataFrame, faqs: FaqSet) -> None:
    duplicates = table.loc[table["id"].duplicated(), "id"]
    if len(duplicates):
        raise FaqlabError(f"{path}: two queries have the id {duplicates.iloc[0]!r}; rename one.")
    splits = SPLITS if (table["split"] != "").any() else ("",)
    for line, query_id, query, relevant, split in table[["id", "query", "relevant", "split"]].itertuples():
        where = f"{path}: line {line} ({query_id})"
        if is_blank(query):
            raise FaqlabError(f"{where} has no query; write one or delete the row.")
        unknown = [faq_id for faq_id in relevant if faq_id not in faqs.position]
        if unknown:
            there = f"{faqs.path or 'the FAQ'} has no entry {unknown[0]!r} (it has, for example, {faqs.ids[0]!r})"
            remedy = "name this FAQ's queries with --queries or FAQLAB_QUERIES, or fix the label"
            raise FaqlabError(f"{where}: {there}; {remedy}.")
        if split not in splits:
            raise FaqlabError(f"{where} has the split {split!r}; write {' or '.join(SPLITS)}, or leave the column out.")


def load_domains(folder: Path) -> dict[str, tuple[FaqSet, pd.DataFrame]]:
    """Return each FAQ in *folder* and its labelled queries by name: `NAME.json` with `NAME.csv`."""
    domains = {path: FaqSet.load(path) for path in sorted(folder.glob("*.json"))}
    return {path.stem: (faqs, load_queries(path.with_suffix(".csv"), faqs)) for path, faqs in domains.items()}
