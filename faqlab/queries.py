"""Labelled queries: what callers ask, and which entries of the FAQ answer it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd

from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.text import is_blank, read_text

COLUMNS = ("id", "query", "relevant", "kind", "split")
SPLITS = ("tune", "test")


def load_queries(path: str | Path, faqs: FaqSet, split: str | None = None) -> pd.DataFrame:
    """
    Read labelled queries from a CSV file; its `id`, `kind` and `split` are optional.

    `relevant` holds the ids of the entries of *faqs* that answer the query, separated by spaces, commas or semicolons;
    it's empty if the query is out of scope. With *split*, only the queries of `tune` or `test` are kept; a file without
    splits is used whole.

    Returns:
        One row per query, in the order of the file: the `COLUMNS`, `relevant` as a tuple, and `answerable`.

    Raises:
        FaqlabError: The file can't be read, or something in it is missing, wrong or a duplicate.
    """
    path = Path(path)
    table = _read_csv(path)
    table["relevant"] = [_labels(cell, faqs) for cell in table["relevant"]]
    table["answerable"] = table["relevant"].map(bool)
    kinds = table["answerable"].map({True: "answerable", False: "out_of_scope"})
    defaults = {"id": [f"q{n + 1}" for n in range(len(table))], "kind": kinds, "split": ""}
    table = pd.DataFrame({**defaults, **table}, table.index).replace({"split": {"train": "tune"}})
    _check_rows(path, table, faqs)
    if split and (table["split"] != "").any():
        table = table[table["split"] == split]
    if table.empty:
        raise FaqlabError(f"{path}: no queries{f' in the split {split!r}' if split else ''}; add some.")
    return table[[*COLUMNS, "answerable"]].reset_index(drop=True)


def _read_csv(path: Path) -> pd.DataFrame:
    """Return the cells of the file as text, indexed by the line in which each row ends."""
    # pandas.read_csv fills short rows and shifts long ones, so that labels get lost without a warning.
    text = read_text(path, "name your queries with --queries or FAQLAB_QUERIES")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = next(filter(str.strip, text.split("\n")), "")
    if first.strip('" ').casefold().startswith("sep="):  # Excel's own line
        text, first = text.replace(first, "", 1), first.strip('" ')[4:]
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        rows = {line: row for row, line in ((row, reader.line_num) for row in reader) if not all(map(is_blank, row))}
    except csv.Error as error:
        remedy = 'close every quotation mark, and write "" for one inside a text'
        raise FaqlabError(f"{path}: not CSV ({error}, line {reader.line_num}); {remedy}.") from None
    if not rows:
        raise FaqlabError(f"{path}: empty; the first row names the columns: {', '.join(COLUMNS)}.")
    header = [column.strip() for column in rows.pop(min(rows))]
    named = [n for n, column in enumerate(header) if column]  # a spreadsheet's empty columns have no name
    problems = [f"unknown column {column!r}" for column in header if column not in (*COLUMNS, "")]
    problems += [f"no column {column!r}" for column in ("query", "relevant") if column not in header]
    problems += [f"two columns {column!r}" for column in COLUMNS if header.count(column) > 1]
    if problems:
        expected = f"expected {', '.join(COLUMNS)}; id, kind and split are optional"
        raise FaqlabError(f"{path}: {problems[0]} ({expected}).")
    for line, row in rows.items():
        unnamed = (cell for n, cell in enumerate(row) if n and n not in named)  # the first may count the rows
        if len(row) != len(header) or not all(map(is_blank, unnamed)):
            remedy = "put quotation marks around a query that contains a comma"
            raise FaqlabError(f"{path}: line {line} has {len(row)} cells, the header {len(header)}; {remedy}.")
    cells = [[row[n] for n in named] for row in rows.values()]
    return pd.DataFrame(cells, index=list(rows), columns=[header[n] for n in named], dtype=str)


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
