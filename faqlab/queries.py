"""Labelled queries: what callers ask, and which entries of the FAQ answer it."""

import csv
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from faqlab.cache import sha256
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet, tidy_id
from faqlab.formats import read_table, table_text
from faqlab.text import KNOWN, is_blank, normalised, read_text, replace_surrogates, write_text

COLUMNS = ("id", "query", "relevant", "kind", "split")
SPLITS = ("tune", "test")
NOT_A_QUESTION = "not_a_question"
"""The kind of what isn't a question: it stays in the file, so that nobody has to label it again, and isn't used."""
REMEDY = "name your queries with --queries or FAQLAB_QUERIES"


def load_queries(path: str | Path, faqs: FaqSet, split: str | None = None) -> pd.DataFrame:
    """
    Return the queries of a CSV or XLSX file, a row each: the `COLUMNS`, `relevant` as a tuple, and `answerable`.

    `relevant` holds the ids of the entries of *faqs* that answer the query, separated by spaces, commas or semicolons,
    or their questions, separated by |; it's empty if the query is out of scope. `id`, `kind`, `split` and `source` are
    optional. With *split*, only the queries of `tune` or `test` are kept; a file without splits is used whole.
    FaqlabError if the file can't be read, or something in it is missing, wrong or a duplicate.
    """
    table = read_rows(Path(path), faqs).query("kind != @NOT_A_QUESTION")
    if split and (table["split"] != "").any():
        table = table[table["split"] == split]
    if table.empty:
        raise FaqlabError(f"{path}: no queries{f' in the split {split!r}' if split else ''}; add some.")
    return table[[*COLUMNS, "answerable"]].reset_index(drop=True)


def read_rows(path: Path, faqs: FaqSet) -> pd.DataFrame:
    """Return all rows as `load_queries` does, also those that are `NOT_A_QUESTION`, indexed by their lines."""
    table = _cells(path)
    table["relevant"] = [_labels(cell, faqs) for cell in table["relevant"]]
    table["answerable"] = table["relevant"].map(bool)
    nothing = pd.Series("", table.index, dtype=str)
    table["id"] = [cell or f"q{n + 1}" for n, cell in enumerate(table.get("id", nothing))]
    table["kind"] = table.get("kind", table["answerable"].map({True: "answerable", False: "out_of_scope"}))
    table["split"] = table.get("split", nothing).str.casefold().replace("train", "tune")
    if len(duplicates := table.loc[table["id"].duplicated(), "id"]):
        raise FaqlabError(f"{path}: two queries have the id {duplicates.iloc[0]!r}; rename one.")
    splits = SPLITS if (table["split"] != "").any() else ("",)
    for line, query_id, query, relevant, split in table[["id", "query", "relevant", "split"]].itertuples():
        where = f"{path}: line {line} ({query_id})"
        if is_blank(query):
            raise FaqlabError(f"{where} has no query; write one or delete the row.")
        if unknown := [faq_id for faq_id in relevant if faq_id not in faqs.position]:
            texts = [*faqs.ids, *(faq.question for faq in faqs)]
            known = next(iter(get_close_matches(unknown[0], texts, n=1)), faqs.ids[0])
            there = f"{faqs.path or 'the FAQ'} has no entry {unknown[0]!r} (it has, for example, {known!r})"
            raise FaqlabError(f"{where}: {there}; {REMEDY}, or fix the label.")
        if split not in splits:
            raise FaqlabError(f"{where} has the split {split!r}; write {' or '.join(SPLITS)}, or leave the column out.")
    return table


def _cells(path: Path) -> pd.DataFrame:
    header, rows = read_table(path, REMEDY, [KNOWN["queries"]["query"], KNOWN["queries"]["relevant"]])
    return pd.DataFrame([*rows.values()], index=list(rows), columns=_our_names(path, header), dtype=str)


def _our_names(path: Path, header: list[str]) -> list[str]:
    ours = {name: column for column, names in KNOWN["queries"].items() for name in names}
    header = [ours.get(name.strip().casefold(), name.strip()) for name in header]
    problems = [f"unknown column {column!r}" for column in header if column and column not in ours]
    problems += [f"no column {column!r}" for column in ("query", "relevant") if column not in header]
    problems += [f"two columns {column!r}" for column in COLUMNS if header.count(column) > 1]
    if problems:
        expected = f"expected {', '.join(COLUMNS)}; id, kind and split are optional"
        raise FaqlabError(f"{path}: {problems[0]} ({expected}).")
    return header


def _labels(cell: str, faqs: FaqSet) -> tuple[str, ...]:
    """Return the ids in *cell*, or those of the questions in it; 3.0 means 3, and a spreadsheet's NaN means none."""
    ids = faqs.position
    if cell.casefold() in KNOWN["values"]["nothing"] and cell not in ids:
        return ()
    for texts in ([cell], re.split("[,;|]", cell), cell.split(), re.split(r"[\s,;|]", cell)):
        words = [*filter(None, map(tidy_id, texts))]
        if ids.keys() >= {*words}:
            return tuple(dict.fromkeys(words))
    parts = ([cell], cell.split("|"), re.split(r"[|\n]", cell))  # a question may have a | or a line end
    asked = ([faqs.phrasings.get(normalised(text), "") for text in texts] for texts in parts)
    return tuple(dict.fromkeys(next(filter(all, asked), words if ids.keys() & {*words} else [cell])))


def append_row(path: Path, row: Mapping[str, str], faqs: FaqSet) -> str:
    """
    Append *row*, texts by column, to a queries file in CSV and return its line; `id` and `split` are filled in.

    The same `normalised` query always gets the same split. The file keeps its columns, separator and line ends; what it
    has no column for is left out. FaqlabError, and it stays as it was, if it has the query or can't be read or written.
    """
    table, text = _cells(path), read_text(path, REMEDY)
    separator, plain = table_text(text)
    header = _our_names(path, next(csv.reader(plain.strip().split("\n"), delimiter=separator)))
    query = re.sub(r"^(?=[=+@-])", "'", " ".join(replace_surrogates(row["query"]).split()))  # or Excel sees a formula
    if normalised(query) in {*table["query"].map(normalised)}:
        raise FaqlabError(f"{path}: this query is there already.")
    if row["kind"] == NOT_A_QUESTION and "kind" not in header:
        raise FaqlabError(f"{path}: add a column 'kind', in which it's noted that this isn't a question.")
    digest, splits = sha256(normalised(query).encode()), table.empty or ("split" in table and table["split"].any())
    row = {**row, "query": query, "id": f"q-{digest[:10]}", "split": SPLITS[int(digest, 16) % 2] if splits else ""}
    cells, end = [row.get(name, "") for name in header], "\r\n" if "\r\n" in text else "\n"
    line = pd.DataFrame([cells]).to_csv(sep=separator, header=False, index=False, lineterminator=end)
    write_text(path, text + ("" if text[-1] in "\r\n" else end) + line, REMEDY, lambda new: read_rows(new, faqs))
    return line


def remove_row(path: Path, line: str, faqs: FaqSet) -> None:
    """Remove *line* from the end of a queries file; FaqlabError if the file ends otherwise or has a mistake."""
    text = read_text(path, REMEDY)
    if text.splitlines(keepends=True)[-1:] != [line]:
        raise FaqlabError(f"{path}: the last row isn't this label any more; remove it in the file.")
    write_text(path, text.removesuffix(line), REMEDY, lambda new: read_rows(new, faqs))


def load_domains(folder: Path) -> dict[str, tuple[FaqSet, pd.DataFrame]]:
    """Return each FAQ in *folder* and its labelled queries by name: `NAME.json` with `NAME.csv`."""
    domains = {path: FaqSet.load(path) for path in sorted(folder.glob("*.json"))}
    return {path.stem: (faqs, load_queries(path.with_suffix(".csv"), faqs)) for path, faqs in domains.items()}
