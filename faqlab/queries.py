"""Labelled queries: what callers ask, and which entries of the FAQ answer it."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet, normalised
from faqlab.formats import KNOWN, read_table
from faqlab.text import is_blank

COLUMNS = ("id", "query", "relevant", "kind", "split")
SPLITS = ("tune", "test")


def load_queries(path: str | Path, faqs: FaqSet, split: str | None = None) -> pd.DataFrame:
    """
    Read labelled queries from a CSV or XLSX file; its `id`, `kind` and `split` are optional.

    `relevant` holds the ids of the entries of *faqs* that answer the query, separated by spaces, commas or semicolons,
    or their questions, separated by |; it's empty if the query is out of scope. With *split*, only the queries of
    `tune` or `test` are kept; a file without splits is used whole.

    Returns:
        One row per query, in the order of the file: the `COLUMNS`, `relevant` as a tuple, and `answerable`.

    Raises:
        FaqlabError: The file can't be read, or something in it is missing, wrong or a duplicate.
    """
    path = Path(path)
    table = _read(path)
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


def _read(path: Path) -> pd.DataFrame:
    """Return the cells of the file as text, indexed by the line in which each row ends."""
    header, rows = read_table(path, "name your queries with --queries or FAQLAB_QUERIES")
    ours = {name: column for column, names in KNOWN["queries"].items() for name in names}
    header = [ours.get(name.casefold(), name) for name in header]
    problems = [f"unknown column {column!r}" for column in header if column not in COLUMNS]
    problems += [f"no column {column!r}" for column in ("query", "relevant") if column not in header]
    problems += [f"two columns {column!r}" for column in COLUMNS if header.count(column) > 1]
    if problems:
        expected = f"expected {', '.join(COLUMNS)}; id, kind and split are optional"
        raise FaqlabError(f"{path}: {problems[0]} ({expected}).")
    return pd.DataFrame([*rows.values()], index=list(rows), columns=header, dtype=str)


def _labels(cell: str, faqs: FaqSet) -> tuple[str, ...]:
    """Return the ids in *cell*, or those of the questions in it; 3.0 means 3, and a spreadsheet's NaN means none."""
    ids, asked = faqs.position, [faqs.by_question.get(normalised(text)) for text in re.split(r"[|\n]", cell)]
    if cell.casefold() in KNOWN["values"]["nothing"] and cell not in ids:
        return ()
    words = [word for part in cell.split() for word in ([part] if part in ids else re.split("[,;|]", part)) if word]
    words = [word if word in ids else re.sub(r"(?<=\d)\.0$", "", word) for word in words]
    if not ids.keys() >= {*words}:
        words = [*filter(None, asked)] if all(asked) else words if ids.keys() & {*words} else [cell]
    return tuple(dict.fromkeys(words))


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
