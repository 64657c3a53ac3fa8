"""FAQs and tables as other programs write them; `data/formats.toml` has their names for things."""

import csv
import io
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from faqlab.errors import FaqlabError
from faqlab.text import IS, KNOWN, is_blank, read_text, replace_surrogates

Rows = dict[int, list[str]]  # the cells of a table, by line

FIELDS: dict[str, list[str]] = KNOWN["fields"]
NAMES = {name for table in (FIELDS, KNOWN["queries"]) for names in table.values() for name in names}
WANTED = {"question", "answer"}

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
        for item in data:
            yield from entries(item, among=True)
    elif isinstance(data, dict):
        alike = all(isinstance(value, dict) for value in data.values())
        below = [(str(key), entry) for key, value in data.items() for entry in entries(value, alike)]
        own, asked = _entry(data), [key for key in data if re.search(r"\s|\?$", str(key))]
        guessed = own.keys() >= WANTED and (among or "@type" in data) and (not below or own["question"].endswith("?"))
        is_entry = (guessed or WANTED & data.keys()) and "Question" in str(data.get("@type", "Question"))
        if is_entry:  # what is below may be other questions, but also files and links
            yield own
            below = [
                (key, entry) for key, entry in below if entry.get("question", "").endswith("?") and "answer" in entry
            ]
        elif not below and len(asked) > len(data) / 2:
            yield from (_entry({"question": key, "answer": value}) for key, value in data.items())
        title = own.get("category") or (among and not is_entry and "@type" not in data and own.get("question"))
        for key, entry in below:
            category = title or ("" if is_entry or _bare(key) in KNOWN["values"]["wrappers"] else key)
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


def records(path: Path, header: list[str], rows: Rows) -> tuple[list[dict[str, str]], str]:
    """Return the rows of a table by its columns, and these in words; if names say nothing, by signs and length."""
    names, columns = [*header], [*zip(header, *rows.values(), strict=True)]
    for field, sign in {"question": "?", "answer": ""}.items():
        named = [n for known in FIELDS[field] for n, name in enumerate(names) if _bare(name) == known][:1]
        named = named or [n for n, name in enumerate(names) if _bare(IS["language"].sub("", name)) in FIELDS[field]]
        if len(named) > 1:
            which = " and ".join(repr(header[n]) for n in named)
            raise FaqlabError(f"{path}: the columns {which} may each be the {field}; name one of them {field!r}.")
        free = [n for n, name in enumerate(names) if _bare(name) not in NAMES and not IS["private"].match(name)]
        likely = {n: (sum(cell.endswith(sign) for cell in columns[n]), sum(map(len, columns[n]))) for n in free}
        place = named[0] if named else max(likely, key=likely.__getitem__, default=-1)
        if place < 0 or not (named or likely[place][0]):
            return [], ""
        rows = {0: header} | rows if not named and header[place].endswith("?") else rows
        names[place] = field
    question, answer = (header[names.index(field)] for field in ("question", "answer"))
    how = f"questions are the column {question!r:.50}, answers {answer!r:.50}"
    return [dict(zip(names, row, strict=True)) for row in rows.values()], how


def read_table(path: Path, remedy: str) -> tuple[list[str], Rows]:
    """Return the names of the columns and the cells of each row by line; FaqlabError if *path* is no CSV or XLSX."""
    rows = _sheet(path, remedy) if path.suffix.lower() == ".xlsx" else _csv(path, read_text(path, remedy))
    rows = {line: [cell.strip() for cell in row] for line, row in rows.items() if not all(map(is_blank, row))}
    if not rows:
        raise FaqlabError(f"{path}: empty; the first row names the columns.")
    top = next((line for line, row in rows.items() if sum(map(bool, row)) > 1), 0)  # titles may stand above it
    top = top if top and _is_header(rows[top]) else min(rows)
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
    import pandas as pd

    try:
        file = pd.ExcelFile(path, engine="openpyxl")
        titles = [sheet.title for sheet in file.book.worksheets if sheet.sheet_state == "visible"]
        tables = pd.read_excel(file, titles, header=None, dtype=str, keep_default_na=False)
    except Exception as error:  # whatever openpyxl raises for a damaged file
        raise FaqlabError(f"{path}: can't be read as XLSX ({error}); save it as XLSX or CSV, or {remedy}.") from None
    tidy = {" 00:00:00$": ""}  # of dates; cells with an error, as #N/A, are NaN
    sheets = {of: table.fillna("").replace(tidy, regex=True).to_numpy().tolist() for of, table in tables.items()}
    known = [title for title in titles if any(map(_is_header, sheets[title]))]
    best = known[0] if known else max(titles, key=lambda title: len(sheets[title]))
    if others := ", ".join(repr(title) for title in file.sheet_names if title != best):
        log.warning("%s: only the sheet %r is read, not %s.", path, best, others)
    return dict(enumerate(sheets[best], start=1))


def _is_header(row: list[str]) -> bool:
    return len(NAMES & {*map(_bare, row)}) > 1
