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
from pathlib import Path
from typing import Any

from faqlab.errors import FaqlabError
from faqlab.text import IS, KNOWN, is_blank, read_text, replace_surrogates

Rows = dict[int, list[str]]  # the cells of a table, by line

FIELDS: dict[str, list[str]] = KNOWN["fields"]
NAMES = {name for table in (FIELDS, KNOWN["queries"]) for names in table.values() for name in names}
WANTED = {"question", "answer"}
TOP = 9  # rows in which a table's header is looked for, as titles may stand above it
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


def entries(data: Any, among: bool = False, named: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the entries in *data*, at any depth; *among* others, a title and a text are one unless all are *named*."""
    if isinstance(data, list):
        for item in data:
            yield from entries(item, True, named)
    elif isinstance(data, dict):
        if isinstance(english := data.get("en"), dict | list):  # beside other languages
            others = {key for key in data if IS["locale"].match(str(key)) and isinstance(data[key], dict | list)}
            data = {key: data[key] for key in data if key not in others}
            data |= english if isinstance(english, dict) else {"faqs": english}
        data = _with_list(data)
        alike = all(isinstance(value, dict) for value in data.values())
        below = [(_group(key, value), entry) for key, value in data.items() for entry in entries(value, alike, named)]
        own, kind = _entry(data), str(data.get("@type", ""))
        certain = own.get("question", "").endswith("?") or not (below or named)
        guessed = own.keys() >= WANTED and (among or kind) and certain
        if (guessed or WANTED & data.keys()) and "Question" in (kind or "Question"):
            yield own  # what is below may be other questions, but also files and links
            below = [("", entry) for _, entry in below if entry.get("question", "").endswith("?") and "answer" in entry]
            title = own.get("category")
        else:
            asked = sum(bool(re.search(r"\s|\?$", str(key))) for key in data)
            if not below and asked > len(data) / 2 and NAMES.isdisjoint(_bare(str(key)) for key in data):
                below = [("", _entry({"question": key, "answer": value})) for key, value in data.items()]
            title = own.get("category") or (among and not kind and own.get("question"))
        for group, entry in below:
            yield entry if entry.get("category") else entry | {"category": title or group}


def _with_list(data: dict[Any, Any]) -> dict[Any, Any]:
    """Return *data* with a list of entries instead of keys like q1, a1, q2, a2; unchanged if it's one entry itself."""
    several, rest = defaultdict[Any, dict[str, Any]](dict), dict(data)
    for key, value in data.items():
        field = IS["one_of_several"].match(str(key))
        if field and not IS["locale"].match(field["before"] or ""):
            name = "question" if field["name"][0] in "qQ" else "answer"
            several[field["before"], field["number"]][name] = value
            del rest[key]
    pairs = sum(len(entry) > 1 for entry in several.values())
    return rest | {"": [*several.values()]} if pairs > 1 and (None, "") not in several else data


def _group(key: Any, value: Any) -> str:
    """Return *key* as the category of what is in *value*, or nothing if it's a mere wrapper or names one entry."""
    single = isinstance(value, dict) and _entry(value).keys() >= WANTED
    return "" if single or _bare(str(key)) in KNOWN["values"]["wrappers"] else replace_surrogates(str(key))


def _entry(data: dict[Any, Any]) -> dict[str, Any]:
    values = defaultdict[str, list[str]](list)
    for key, value in data.items():
        name, texts = _bare(str(key)), _texts(value)
        values[name] += texts[:1] if name == "responses" else texts  # of a bot, which says one of them
    known = {field: next((values[name] for name in of if values[name]), []) for field, of in FIELDS.items()}
    asked = [*known.pop("question"), *re.split(r"[|\n]", "\n".join(known.pop("alternatives")))]
    entry: dict[str, Any] = {field: "\n".join(texts) for field, texts in known.items() if texts}
    if asked := [*filter(None, map(_plain, asked))]:
        entry["question"], *entry["alternatives"] = asked
    return entry


def _plain(question: str) -> str:
    """Return a question without bold and HTML, unless it's about a tag, as "What does <b> mean?"."""
    if IS["formatted"].search(question):
        question = IS["inline"].sub("", IS["block"].sub(" ", question))
    question = IS["bold_words"].sub(r"\1", IS["entity"].sub(lambda entity: unescape(entity[0]), question))
    return " ".join(question.split())


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):  # {"@type": "Answer", "text": …}, {"rendered": …}, {"en": …}
        return next(filter(None, (_texts(value.get(key)) for key in KNOWN["values"]["texts"])), [])
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    text = replace_surrogates(str(value))
    return [] if is_blank(text) or text.strip().casefold() in NOTHING else [text]


def _bare(name: str) -> str:
    return IS["no_name"].sub("", name.casefold())


def records(header: list[str], rows: Rows) -> tuple[dict[int, list[dict[str, str]]], str]:
    """Return the entries in each row by its columns, and these in words; if names say nothing, by signs and length."""
    columns, names, places = [*zip(header, *rows.values(), strict=True)], [*header], list[int]()
    letters = [re.sub(r"[\W\d_]", "", name.casefold()) for name in header]
    english, other = [*map(_bare, header)], [_bare(IS["language"].sub("", name)) for name in header]
    for field, sign in {"question": "?", "answer": ""}.items():
        known = [n for of in FIELDS[field] for n, name in enumerate(english) if name == of]
        known = known or [n for n, name in enumerate(other) if name in FIELDS[field]]
        free = {n for n, name in enumerate(english) if not (name in NAMES or IS["private"].match(header[n]))}
        signs = {n: sum(cell.endswith(sign) for cell in columns[n]) for n in free.difference(places)}
        likely = sorted(filter(signs.get, signs), key=lambda n: (signs[n], sum(map(len, columns[n]))))
        if not (known or likely) or len({english[n] for n in known} - NAMES) > 1:  # or several other languages
            return {}, ""
        places.append(known[0] if known else likely[-1])
        names = [field if letters[n] == letters[places[-1]] else name for n, name in enumerate(names)]
    if not NAMES & {english[n] for n in places} and header[places[0]].endswith("?"):
        rows, header = {1: header} | rows, [f"number {n + 1}" for n in range(len(header))]
    how = "questions are the column {!r:.50}, answers {!r:.50}".format(*(header[n] for n in places))
    nth = [letters[:n].count(name) for n, name in enumerate(letters)]
    if min(names.count("question"), names.count("answer")) < 2:  # two of one name are phrasings, or parts of an answer
        names, nth = [f"{name}{n or ''}" for name, n in zip(names, nth, strict=True)], [0] * len(names)
    return {line: _side_by_side([*zip(names, nth, row, strict=True)]) for line, row in rows.items()}, how


def _side_by_side(cells: list[tuple[str, int, str]]) -> list[dict[str, str]]:
    """Return the entries of a row like Category, Question, Answer, Question, Answer; all have the first category."""
    shared = {name: cell for name, n, cell in cells if n == 0 and _bare(name) in FIELDS["category"]}
    first, *more = ({name: cell for name, n, cell in cells if n == of} for of in sorted({n for _, n, _ in cells}))
    return [first, *(shared | own for own in more if own.get("question") or own.get("answer"))]


def read_table(path: Path, remedy: str, wanted: list[list[str]]) -> tuple[list[str], Rows]:
    """Return the names of the columns and the cells of each row by line; FaqlabError if *path* is no CSV or XLSX."""
    rows = _sheet(path, remedy, wanted) if path.suffix.lower() == ".xlsx" else _csv(path, read_text(path, remedy))
    rows = {line: [cell.strip() for cell in row] for line, row in rows.items() if not all(map(is_blank, row))}
    if not rows:
        raise FaqlabError(f"{path}: empty; the first row names the columns.")
    headers = (line for line in [*rows][:TOP] if len(NAMES & {*map(_bare, rows[line])}) > 1)
    top = next(headers, min(rows))
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


def _sheet(path: Path, remedy: str, wanted: list[list[str]]) -> Rows:
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, data_only=True)
    except Exception as error:  # whatever openpyxl raises for a damaged file
        raise FaqlabError(f"{path}: can't be read as XLSX ({error}); save it as XLSX or CSV, or {remedy}.") from None
    tables = dict[str, Rows]()
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            rows = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
            for area in sheet.merged_cells.ranges:  # the first cell has what is meant for all below it
                for row in filter(any, rows[area.min_row : area.max_row]):
                    row[area.min_col - 1] = rows[area.min_row - 1][area.min_col - 1]
            tidy = ([cell.strip().removesuffix(" 00:00:00") for cell in row] for row in rows)  # of dates
            tables[sheet.title] = {line: row for line, row in enumerate(tidy, start=1) if any(row)}
    # A header with the names that are *wanted*, of an FAQ or of queries, stands above what is to be read.
    headed = [title for title, rows in tables.items() if any(_is_header(row, wanted) for row in [*rows.values()][:TOP])]
    best = headed[0] if headed else max(tables, key=lambda title: len(tables[title]))
    if others := ", ".join(repr(title) for title in book.sheetnames if title != best):
        log.warning("%s: only the sheet %r is read, not %s.", path, best, others)
    return tables[best]


def _is_header(row: list[str], wanted: list[list[str]]) -> bool:
    return all({*map(_bare, row), *map(str.casefold, row)} & {*names} for names in wanted)
