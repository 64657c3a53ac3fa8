"""Labelled queries: what callers ask, and which entries answer it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.text import read_text, says_something

COLUMNS = ("id", "query", "relevant", "kind", "split")
SPLITS = ("tune", "test")
OUT_OF_SCOPE = ("near_out_of_scope", "far_out_of_scope")
LONGEST_CELL = 2**31 - 1
KINDS = ("paraphrase", "keyword", "indirect", "typo", "spoken", "multi", *OUT_OF_SCOPE)


def load_queries(path: str | Path, faqs: FaqSet, split: str | None = None) -> pd.DataFrame:
    """
    Read labelled queries from a CSV file.

    `query` and `relevant` are needed; `id`, `kind` and `split` may be left out. `relevant` holds FAQ ids parted
    by spaces, and nothing for a query that the FAQ does not answer.

    Args:
        path: The file.
        faqs: The FAQ whose ids the labels name.
        split: Keep only `tune` or `test`; a file without a `split` column is used whole.

    Returns:
        One row a query, in file order: `id`, `query`, `relevant` (a tuple of FAQ ids), `kind`, `split`, `answerable`.

    Raises:
        FaqlabError: the file cannot be read or is no CSV with commas, a column is unknown or missing, a query is empty,
            an id stands twice, a label names no entry, only some rows have a split, or nothing is left. The message
            names the file, the line and the remedy.
    """
    path = Path(path)
    table = _read_csv(path)
    unknown = [c for c in table.columns if c not in COLUMNS]
    missing = [c for c in ("query", "relevant") if c not in table.columns]
    if unknown or missing:
        what = f"unknown column {unknown[0]!r}" if unknown else f"no column {missing[0]!r}"
        raise FaqlabError(f"{path}: {what}: expected {', '.join(COLUMNS)} (id, kind and split may be left out).")
    if "id" not in table:
        table["id"] = [f"q{n}" for n in range(1, len(table) + 1)]
    if "kind" not in table:
        table["kind"] = np.where(table["relevant"].str.strip() == "", "out_of_scope", "answerable")
    if "split" not in table:
        table["split"] = ""
    table["relevant"] = [tuple(dict.fromkeys(cell.split())) for cell in table["relevant"]]
    table["answerable"] = table["relevant"].map(bool)
    _check_rows(path, table, faqs)
    if split and (table["split"] != "").any():
        table = table[table["split"] == split]
    if table.empty:
        raise FaqlabError(f"{path}: no queries{f' in the split {split!r}' if split else ''}: add some.")
    return table[[*COLUMNS, "answerable"]].reset_index(drop=True)


def _read_csv(path: Path) -> pd.DataFrame:
    """Return the cells of the file as text, indexed by the line of the file in which each row ends."""
    # Not pandas.read_csv: it fills a row with too few cells and cuts one with too many, and a label is lost unseen.
    text = read_text(path, "name your queries by --queries or FAQLAB_QUERIES")
    if text.lstrip().startswith(("{", "[")):
        raise FaqlabError(f"{path}: looks like JSON: expected a CSV file whose first row is query,relevant.")
    first = next(filter(str.strip, text.splitlines()), "")
    if "," not in first and set(first) & set(";\t"):  # before the parser stumbles over a quoted cell
        raise FaqlabError(f"{path}: the columns are parted by semicolons or tabs: save the file with commas between.")
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        numbered = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise FaqlabError(
            f"{path}: not a CSV ({error}): close each quotation mark, double one within a text."
        ) from None
    if not numbered:
        raise FaqlabError(f"{path}: empty: the first row names the columns: {', '.join(COLUMNS)}.")
    (_, header), *numbered = numbered
    for line, row in numbered:
        if len(row) != len(header):
            raise FaqlabError(
                f"{path}: line {line} has {len(row)} cells, the header {len(header)}: "
                "put a query that has a comma in it in quotation marks."
            )
    for column in header:
        if header.count(column) > 1:
            raise FaqlabError(f"{path}: the column {column!r} stands twice: delete one.")
    lines, rows = [line for line, _ in numbered], [row for _, row in numbered]
    return pd.DataFrame(rows, index=lines, columns=header, dtype=str)


def _check_rows(path: Path, table: pd.DataFrame, faqs: FaqSet) -> None:
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise FaqlabError(f"{path}: the id {twice.iloc[0]!r} stands twice: rename one.")
    has_splits = (table["split"] != "").any()
    for line, query_id, query, relevant, split in table[["id", "query", "relevant", "split"]].itertuples():
        where = f"{path}: line {line} ({query_id})"
        if not says_something(query):
            raise FaqlabError(f"{where} has no query: write one or delete the row.")
        for faq_id in relevant:
            if faq_id not in faqs:
                remedies = ["mend the label", "name the queries of this FAQ by --queries or FAQLAB_QUERIES"]
                if not any(known in faqs for ids in table["relevant"] for known in ids):  # likely another FAQ's
                    remedies.reverse()
                raise FaqlabError(
                    f"{where}: there is no FAQ with the id {faq_id!r} in {faqs.path or 'the FAQ'}, which has ids like "
                    f"{faqs.ids[0]!r}: {remedies[0]}, or {remedies[1]}."
                )
        if has_splits and not split:
            raise FaqlabError(f"{where} has no split: write {' or '.join(SPLITS)}, or leave the column out.")
        if split not in ("", *SPLITS):
            raise FaqlabError(f"{where}: the split {split!r} is unknown: expected {' or '.join(SPLITS)}.")
