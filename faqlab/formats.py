"""FAQs and tables as other programs write them; `data/formats.toml` has their names for things."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from faqlab.errors import FaqlabError
from faqlab.text import KNOWN, is_blank, read_text, replace_surrogates

Rows = dict[int, list[str]]  # the cells of a table, by line

PAGES = (".html", ".htm", ".md", ".markdown", ".txt")
FIELDS: dict[str, list[str]] = KNOWN["fields"]
WANTED = {"question", "answer"}


def read_entries(path: Path, remedy: str) -> tuple[list[dict[str, Any]], str]:
    """Return the entries of an FAQ file, with our names for their fields, unchecked, and how they were found."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".xlsx"):
        records, how = _records(*read_table(path, remedy))
        return [*entries(records)], how
    if suffix not in ("", ".json", ".jsonl", ".yaml", ".yml", *PAGES):
        raise FaqlabError(f"{path}: {suffix} isn't read; save it as JSON, YAML, CSV, XLSX, Markdown or HTML.")
    text = read_text(path, remedy)
    if suffix in PAGES:
        from faqlab.pages import page_entries

        return page_entries(text, is_html=suffix in PAGES[:2])
    try:
        data = parse(text, suffix)
        ours = data.get("questions") if isinstance(data, dict) else None
        if isinstance(ours, list) and any(isinstance(entry, dict) for entry in ours):  # a text is half an entry
            data["questions"] = [{"question": item} if isinstance(item, str) else item for item in ours]
        found = [*entries(data)]
    except Exception as error:  # whatever the parsers raise
        raise FaqlabError(f"{path}: not {suffix[1:].upper() or 'JSON'} ({error}); correct it.") from None
    return found, "known by the names of their fields" if ours is None else ""


def parse(text: str, suffix: str = ".json") -> Any:
    """Return the value of YAML, with all scalars as text, of JSON, or of JSON lines as a list."""
    if suffix in (".yaml", ".yml"):
        import yaml

        data = yaml.load(text, yaml.BaseLoader)
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):  # forty can stand for 2⁴⁰ texts
            raise ValueError("aliases, as in *name, aren't read: write out what they stand for")
        return data
    try:
        return json.loads(text, strict=False)  # with line ends in texts
    except ValueError:
        with suppress(ValueError):
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        raise


def entries(data: Any, among: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the entries in *data*, at any depth; *among* others, a title and a text are enough for one."""
    if isinstance(data, list):
        for item in data:
            yield from entries(item, among=True)
    elif isinstance(data, dict):
        alike = all(isinstance(value, dict) for value in data.values())
        below = [(str(key), entry) for key, value in data.items() for entry in entries(value, alike)]
        own, asked = _entry(data), [key for key in data if re.search(r"\s|\?$", str(key))]
        is_entry = own.keys() >= WANTED and not below and (among or "@type" in data)
        if is_entry or WANTED & data.keys():
            yield from [own] if "Question" in str(data.get("@type", "Question")) else []
        elif not below and len(asked) > len(data) / 2:
            yield from (_entry({"question": key, "answer": value}) for key, value in data.items())
        title = own.get("category") or (among and "@type" not in data and own.get("question"))
        for key, entry in below:
            category = title or ("" if _bare(key) in KNOWN["values"]["wrappers"] else key)
            yield entry if entry.get("category") else entry | {"category": category}


def _entry(data: dict[Any, Any]) -> dict[str, Any]:
    values = defaultdict[str, list[str]](list)
    for key, value in data.items():
        values[_bare(str(key))] += _texts(value)
    known = {field: next((values[name] for name in of if values[name]), []) for field, of in KNOWN["fields"].items()}
    asked = [*known.pop("question"), *re.split(r"[|\n]", "\n".join(known.pop("alternatives")))]
    entry: dict[str, Any] = {field: "\n".join(texts) for field, texts in known.items() if texts}
    if any(asked):
        entry["question"], *entry["alternatives"] = filter(str.strip, asked)
    return entry


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):  # {"@type": "Answer", "text": …}, {"rendered": …}, {"en": …}
        value = next((value[key] for key in ("text", "rendered", "en") if key in value), None)
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    text = replace_surrogates(str(value))
    return [] if is_blank(text) or text.strip().casefold() in KNOWN["values"]["nothing"] else [text]


def _bare(name: str) -> str:
    return re.sub(r"^faqs?[\W_]+(?=\w)|[\W_]+text$|[\W\d_]+", "", name.casefold())


def _records(header: list[str], rows: Rows) -> tuple[list[dict[str, str]], str]:
    """Return the rows of a table by its columns, and these in words; if names say nothing, by signs and length."""
    names, bare, columns = [*header], [*map(_bare, header)], [*zip(header, *rows.values(), strict=True)]
    question, answer = (next((bare.index(n) for n in FIELDS[of] if n in bare), -1) for of in ("question", "answer"))
    if min(question, answer) < 0:
        asked = [sum(cell.endswith("?") for cell in column) for column in columns]
        question = asked.index(max(asked))
        answer = max(range(len(names)), key=lambda n: (n != question, sum(map(len, columns[n]))))
        rows = {0: header} | rows if header[question].endswith("?") else rows
        if not any(asked):
            return [], ""
    names[question], names[answer] = "question", "answer"
    how = f"questions are the column {header[question]!r:.50}, answers {header[answer]!r:.50}"
    return [dict(zip(names, row, strict=True)) for row in rows.values()], how


def read_table(path: Path, remedy: str) -> tuple[list[str], Rows]:
    """Return the names of the columns and the cells of each row by line; FaqlabError if *path* is no CSV or XLSX."""
    rows = _sheet(path, remedy) if path.suffix.lower() == ".xlsx" else _csv(path, read_text(path, remedy))
    rows = {line: [cell.strip() for cell in row] for line, row in rows.items() if not all(map(is_blank, row))}
    if not rows:
        raise FaqlabError(f"{path}: empty; the first row names the columns.")
    header = rows.pop(min(rows))
    for line, row in rows.items():
        unnamed = (cell for n, cell in enumerate(row[: len(header)]) if n and not header[n])  # the first may count rows
        if len(row) != len(header) or any(unnamed):
            problem = "put quotation marks around a text that contains the separator"
            raise FaqlabError(f"{path}: line {line} has {len(row)} cells, the header {len(header)}; {problem}.")
    named = [n for n, name in enumerate(header) if name]
    return [header[n] for n in named], {line: [row[n] for n in named] for line, row in rows.items()}


def table_text(text: str) -> tuple[str, str]:
    """Return the separator of a CSV file, and its *text* with plain line ends and without Excel's own line, `sep=`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = next(filter(str.strip, text.split("\n")), "")
    if first.strip('" ').casefold().startswith("sep="):
        text, first = text.replace(first, "", 1), first.strip('" ')[4:]
    return max(",;\t|", key=first.count), text


def _csv(path: Path, text: str) -> Rows:
    # pandas.read_csv fills short rows and shifts long ones, so that labels get lost without a warning.
    separator, text = table_text(text)
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return {line: row for row, line in ((row, reader.line_num) for row in reader)}
    except csv.Error as error:
        remedy = 'close every quotation mark, and write "" for one inside a text'
        raise FaqlabError(f"{path}: not CSV ({error}, line {reader.line_num}); {remedy}.") from None


def _sheet(path: Path, remedy: str) -> Rows:
    import pandas as pd

    try:
        sheet = pd.read_excel(path, header=None, dtype=str, keep_default_na=False, engine="openpyxl")
    except Exception as error:  # whatever openpyxl raises for a damaged file
        raise FaqlabError(f"{path}: can't be read as XLSX ({error}); save it as XLSX or CSV, or {remedy}.") from None
    return dict(enumerate(sheet.to_numpy().tolist(), start=1))
