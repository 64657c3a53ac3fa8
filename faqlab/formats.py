"""FAQs and tables as other programs write them; `data/formats.toml` has their names for things."""

import csv
import io
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from itertools import count
from pathlib import Path
from typing import Any

from faqlab.errors import FaqlabError
from faqlab.text import IS, KNOWN, is_blank, read_text, replace_surrogates

Rows = dict[int, list[str]]  # the cells of a table, by line

FIELDS: dict[str, list[str]] = KNOWN["fields"]
NAMES = {name for table in (FIELDS, KNOWN["queries"]) for names in table.values() for name in names}
WANTED = {"question", "answer"}
NOTHING = {*KNOWN["values"]["nothing"], *KNOWN["values"]["placeholders"]}

log = logging.getLogger(__name__)


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
        pairs = [item for item in data if isinstance(item, list) and [*map(type, item)] == [str, str]]
        if any(question.endswith("?") for question, _ in pairs):
            data = [dict(zip(("question", "answer"), pair, strict=True)) for pair in pairs]
        said = {
            str(item.get("role")): item.get("content") for item in data if isinstance(item, dict)
        }  # in a conversation
        for item in [said] if {"user", "assistant"} <= said.keys() else data:
            yield from entries(item, among=True)
    elif isinstance(data, dict):
        if isinstance(english := data.get("en"), dict | list):  # beside other languages
            data = {key: data[key] for key in data if not IS["locale"].match(str(key)) or isinstance(data[key], str)}
            data |= english if isinstance(english, dict) else {"faqs": english}
        alike = all(isinstance(value, dict) for value in data.values())
        below = [(_group(key, value), entry) for key, value in data.items() for entry in entries(value, alike)]
        own, several, kind = _entry(data), _several(data), str(data.get("@type", ""))
        guessed = own.keys() >= WANTED and (among or kind) and (not below or own["question"].endswith("?"))
        if (guessed or WANTED & data.keys()) and not several and "Question" in (kind or "Question"):
            yield own  # what is below may be other questions, but also files and links
            below = [("", entry) for _, entry in below if entry.get("question", "").endswith("?") and "answer" in entry]
            title = own.get("category")
        else:
            below = below or [("", entry) for entry in map(_entry, several) if entry]
            title = own.get("category") or (among and not kind and own.get("question"))
        for group, entry in below:
            yield entry if entry.get("category") else entry | {"category": title or group}


def _several(data: dict[Any, Any]) -> list[dict[Any, Any]]:
    """Return the questions and answers in a mapping like q1, a1, q2, a2, or of questions to their answers."""
    groups = defaultdict[Any, dict[Any, Any]](dict)
    for key, value in data.items():
        if field := IS["one_of_several"].match(str(key)):
            groups[field["before"], field["number"]][field["name"]] = value
    pairs = [pair for pair in groups.values() if len(pair) > 1]
    asked = sum(bool(re.search(r"\s|\?$", str(key))) for key in data)
    if len(pairs) < 2 and asked > len(data) / 2 and not _entry(data).keys() >= WANTED:
        return [{"question": key, "answer": data[key]} for key in data]
    return pairs if len(pairs) > 1 else []


def _group(key: Any, value: Any) -> str:
    """Return *key* as the category of what is in *value*, or nothing if it's a mere wrapper or names one entry."""
    single = isinstance(value, dict) and _entry(value).keys() >= WANTED
    return "" if single or _bare(str(key)) in KNOWN["values"]["wrappers"] else str(key)


def _entry(data: dict[Any, Any]) -> dict[str, Any]:
    values = defaultdict[str, list[str]](list)
    for key, value in data.items():
        name, texts = _bare(str(key)), _texts(value)
        values[name] += texts[:1] if name == "responses" else texts  # of a bot, which says one of them
    known = {field: next((values[name] for name in of if values[name]), []) for field, of in FIELDS.items()}
    asked = [*known.pop("question"), *re.split(r"[|\n]", "\n".join(known.pop("alternatives")))]
    entry: dict[str, Any] = {field: "\n".join(texts) for field, texts in known.items() if texts}
    if asked := [*filter(None, (" ".join(IS["inline"].sub("", text).split()) for text in asked))]:
        entry["question"], *entry["alternatives"] = asked
    return entry


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):  # {"@type": "Answer", "text": …}, {"rendered": …}, {"en": …}
        value = next((value[key] for key in KNOWN["values"]["texts"] if key in value), None)
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    text = replace_surrogates(str(value))
    text = text if "<" in text else IS["entity"].sub(lambda entity: unescape(entity[0]), text)
    return [] if is_blank(text) or text.strip().casefold() in NOTHING else [text]


def _bare(name: str) -> str:
    return IS["no_name"].sub("", name.casefold())


def records(header: list[str], rows: Rows) -> tuple[dict[int, dict[str, str]], str]:
    """Return the rows of a table by its columns, and these in words; if names say nothing, by signs and length."""
    columns, number = [*zip(header, *rows.values(), strict=True)], defaultdict[str, Iterator[int]](count)
    names = [f"{name}{next(number[name])}" for name in header]  # two of one name are the fields of two entries
    places = list[int]()
    for field, sign in {"question": "?", "answer": ""}.items():
        known = [n for of in FIELDS[field] for n, name in enumerate(names) if _bare(name) == of]
        free = (n for n, name in enumerate(names) if not (_bare(name) in NAMES or IS["private"].match(header[n])))
        signs = {n: sum(cell.endswith(sign) for cell in columns[n]) for n in free}
        likely = sorted(filter(signs.get, signs), key=lambda n: (signs[n], sum(map(len, columns[n]))))
        if not (known or likely):
            return {}, ""
        places.append(known[0] if known else likely[-1])
        names[places[-1]] = field
    if not NAMES & {_bare(header[n]) for n in places} and IS["no_header"].search(header[places[0]]):
        rows, header = {1: header} | rows, [f"number {n + 1}" for n in range(len(header))]
    how = "questions are the column {!r:.50}, answers {!r:.50}".format(*(header[n] for n in places))
    return {line: dict(zip(names, row, strict=True)) for line, row in rows.items()}, how


def read_table(path: Path, remedy: str) -> tuple[list[str], Rows]:
    """Return the names of the columns and the cells of each row by line; FaqlabError if *path* is no CSV or XLSX."""
    rows = _sheet(path, remedy) if path.suffix.lower() == ".xlsx" else _csv(path, read_text(path, remedy))
    rows = {line: [cell.strip() for cell in row] for line, row in rows.items() if not all(map(is_blank, row))}
    if not rows:
        raise FaqlabError(f"{path}: empty; the first row names the columns.")
    top = next((line for line in [*rows][:9] if _is_header(rows[line])), min(rows))  # titles may stand above it
    header, rows = rows[top], {line: row for line, row in rows.items() if line > top}
    for line, row in rows.items():
        unnamed = (cell for n, cell in enumerate(row[: len(header)]) if n and not header[n])  # the first may count rows
        if len(row) != len(header) or any(unnamed):
            problem = "put quotation marks around a text that contains the separator, or name and fill each column"
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
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, data_only=True)
    except Exception as error:  # whatever openpyxl raises for a damaged file
        raise FaqlabError(f"{path}: can't be read as XLSX ({error}); save it as XLSX or CSV, or {remedy}.") from None
    tables = dict[str, list[list[str]]]()
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            rows = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
            for area in sheet.merged_cells.ranges:  # the first cell has what is meant for all below it
                for row in rows[area.min_row : area.max_row]:
                    row[area.min_col - 1] = rows[area.min_row - 1][area.min_col - 1]
            tables[sheet.title] = [[cell.removesuffix(" 00:00:00") for cell in row] for row in rows]  # of dates
    best = max(tables, key=lambda title: (any(map(_is_header, tables[title])), len(tables[title])))
    if others := ", ".join(repr(title) for title in book.sheetnames if title != best):
        log.warning("%s: only the sheet %r is read, not %s.", path, best, others)
    return dict(enumerate(tables[best], start=1))


def _is_header(row: list[str]) -> bool:
    return len(NAMES & {*map(_bare, row)}) > 1
