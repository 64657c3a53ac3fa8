"""FAQs in Markdown and HTML: JSON-LD, or questions as headings, summaries, terms, buttons, bold lines or after "Q:"."""

import re
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from typing import Any

from bs4 import BeautifulSoup, Tag
from markdown_it import MarkdownIt

from faqlab.formats import entries, parse
from faqlab.text import IS, KNOWN

PAGE = KNOWN["page"]


def page_entries(text: str, is_html: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the questions of a page with what is below each, and how they were recognised; none if there are none."""
    *front, text = IS["front_matter"].split("\n".join(text.splitlines()), maxsplit=1)
    if not is_html:
        text, blocks = IS["titled_block"].subn(r"\n\n<summary>\g<title></summary>\n\n", text)
        text = IS["directive"].sub("", IS["loose_bold"].sub(r"\1**", text))
        markdown = MarkdownIt("commonmark", {"breaks": True}).enable("table")
        text = markdown.disable("code" if blocks else []).render(text)  # the text of a block may be indented like code
    page = BeautifulSoup(IS["open_term"].sub("</dt></dd>", text), "html.parser")
    linked, scripts = list[dict[str, Any]](), page("script", type="application/ld+json")
    for data, suffix in (*((data, ".yaml") for data in front[2:]), *((tag.get_text(), ".json") for tag in scripts)):
        with suppress(Exception):  # what the parsers raise: it may be another program's template
            linked += entries(parse(data, suffix))
    how = f"from its {'JSON-LD' if scripts else 'front matter'}"
    if len(linked) > 1:
        return linked, how
    for table in page("table"):
        _name_cells([[*row(["th", "td"], recursive=False)] for row in table("tr")])
    lines = [*_lines(page)]
    kinds = {kind for kind, *_ in lines if kind}
    tried = [(_score(kind, found), kind, found) for kind in kinds if (found := _found(lines, kind))]
    score, best, found = max(tried, default=((0, 0), "", []))
    if score < (0, 2):
        return linked, how if linked else ""
    name = PAGE["names"].get(best) or (f"<{best}> headings" if is_html else f"{'#' * int(best[1:])} headings")
    above = {kind for kind in kinds if best[0] == kind[0] == "h" and kind < best}
    asked = [text for kind, text, _ in lines if kind == best or (kind in above and text.endswith("?"))]
    missed = {IS["number"].sub("", text) for text in asked} - {"", *(text for text, *_ in found)}
    less = f"; {len(missed)} left out ({min(missed)!r:.50}, …): no text below, or a level above" if missed else ""
    titled = len({category for *_, category in found}) > 1  # a single one is the page's title
    tidy = ((text, _tidy("".join(parts)), category if titled else "") for text, parts, category in found)
    parsed = [dict(zip(("question", "answer", "category"), entry, strict=True)) for entry in tidy if entry[1]]
    return parsed, f"questions are the {name}{less}"


def _name_cells(rows: list[list[Tag]]) -> None:
    """Name the cells of a table with questions and answers for what is in them, each category before its question."""
    names = [PAGE["columns"].get(_text(str(cell)).casefold(), "template") for cell in (rows or [[]])[0]]
    if {"row", "dd"} <= {*names}:
        for row in rows:
            for cell, name in zip(row[::-1], names[::-1], strict=False):  # merged cells are missing at the left
                cell.name = name if row is not rows[0] else "template"
                if name == "h6" and cell is not row[0]:
                    row[0].insert_before(cell)


def _score(kind: str, found: list[tuple[str, list[str], str]]) -> tuple[int, int]:
    """Return how many different questions end like one, half for lines, which may also be any text, and in all."""
    questions = {question for question, *_ in found}
    asked = sum(question.endswith("?") or kind in ("Q:", "row", "summary", "question") for question in questions)
    return asked * (1 if kind == "line" else 2), len(questions)


def _lines(page: BeautifulSoup) -> Iterator[tuple[str, str, str]]:
    """Yield the lines of a page, and the tags between them: which kind of question or title it may be, text, HTML."""
    for kind, selector in PAGE["kinds"].items():
        for tag in page.select(selector):
            text = tag.get_text()
            tag.string = text if "\0" in text else f"\0{kind}\0{text}\0"
    html = IS["noise"].sub("", IS["attributes"].sub(r"<\1\2>", str(page.find("main") or page)))
    for part in IS["parts"].split(html):
        text = _text(part)
        if marked := IS["kind"].match(part):
            yield marked[1], text, part
        elif IS["asked"].match(text):
            yield "Q:", text, part
        elif (bold := IS["bold"].fullmatch(part)) and (_text(bold[1]).endswith("?") or not _text(bold[3])):
            yield from [("bold", _text(bold[1]), bold[1]), ("", _text(bold[3]), bold[3])]
        else:
            yield "line" if text.endswith("?") else "", text, part


def _found(lines: list[tuple[str, str, str]], best: str) -> list[tuple[str, list[str], str]]:
    """Return the questions, if they are the lines of the kind *best*, each with what is below it, and its category."""
    found = list[tuple[str, list[str], str]]()  # questions, the HTML of their answers, categories
    answer: list[str] | None = None  # what is below the last question, as long as that goes
    category, depth, level = "", 0, 0
    for kind, text, html in lines:
        if kind == best:
            answer, level = [], depth
            found.append((IS["number"].sub("", text), answer, category))
        elif kind[:1] == "h" and (answer is None or (kind < best if best[0] == "h" else depth <= level)):
            category, answer = text, None
        elif answer is not None:
            answer.append(html)
        if container := IS["container"].fullmatch(html):
            depth += -1 if container[1] else 1
        if depth < level:  # what the question is in ends, and so does its answer, if there is some
            level, answer = depth, None if any(map(_text, answer or ())) else answer
    return [entry for entry in found if entry[0] and any(map(_text, entry[1]))]


def _text(html: str) -> str:
    return IS["sign"].sub("", " ".join(unescape(IS["tag"].sub("", html)).split()))


def _tidy(html: str) -> str:
    """Return the HTML of an answer with blank lines between its paragraphs; plain text if it has no other markup."""
    html = re.sub(r"\0\w+\0|\0", "", str(BeautifulSoup(IS["opened"].sub("", html), "html.parser")))
    html = re.sub(r"\s*<br/>\s*", "\n", html)
    html = IS["answered"].sub("", IS["break"].sub("\n\n", html).strip())
    return html if "<" in html else unescape(html)
