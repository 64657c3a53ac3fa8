"""FAQs in Markdown and HTML: JSON-LD, or questions as headings, summaries, terms, buttons, bold lines or after "Q:"."""

import re
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from typing import Any

from bs4 import BeautifulSoup, Tag
from markdown_it import MarkdownIt

from faqlab.formats import NOTHING, entries, parse
from faqlab.text import IS, KNOWN

PAGE = KNOWN["page"]


def page_entries(text: str, suffix: str) -> tuple[list[dict[str, Any]], str]:
    """Return the questions of a page with what is below each, and how they were recognised; none if there are none."""
    *front, text = IS["front_matter"].split("\n".join(text.splitlines()), maxsplit=1)
    is_html = suffix in (".html", ".htm")
    if not is_html:
        text, blocks = IS["titled_block"].subn(r"\n\n<summary>\g<title></summary>\n\n", text)
        text = IS["module"].sub("", text) if suffix == ".mdx" else text
        text = IS["shortcode"].sub("", IS["loose_bold"].sub(r"\1**", text))
        markdown = MarkdownIt("commonmark", {"breaks": True}).enable("table")
        text = markdown.disable("code" if blocks else []).render(text)  # the text of a block may be indented like code
    page = BeautifulSoup(IS["open_term"].sub("</dt></dd>", text), "html.parser")
    matter, linked = list[dict[str, Any]](), list[dict[str, Any]]()
    with suppress(Exception):  # what the parsers raise: it may be another program's template
        matter += entries(parse(front[2], ".yaml"), named=True) if front else []
    for script in page("script", type="application/ld+json"):
        with suppress(Exception):
            linked += entries(parse(script.get_text()))
    for entry in linked:
        entry["question"] = _text(entry.get("question", ""))
        if "<" not in entry.get("answer", "<"):  # its tags may be escaped
            entry["answer"] = unescape(entry["answer"])
    if len(linked) > 1:
        return linked, "from its JSON-LD"
    found, how = _laid_out(page, is_html)
    if len(matter) > len(found):
        return matter, "from its front matter"
    return (found, how) if found else (linked, "from its JSON-LD")


def _laid_out(page: BeautifulSoup, is_html: bool) -> tuple[list[dict[str, Any]], str]:
    for table in page("table"):
        _name_cells([[*row(["th", "td"], recursive=False)] for row in table("tr")])
    lines = [*_lines(page)]
    kinds = {kind for kind, *_ in lines if kind}
    tried = {kind: found for kind in kinds if (found := _found(lines, kind))}
    best = max(tried, key=lambda kind: (_score(kind, tried), kind), default="")
    if not best or _score(best, tried) < (0, 0, 2):
        return [], ""
    titled = len({category for *_, category in tried[best]}) > 1  # a single one is the page's title
    tidy = ((text, _tidy("".join(parts)), category if titled else "") for text, parts, category in tried[best])
    answered = [entry for entry in tidy if _text(entry[1]).casefold() not in NOTHING]
    name = PAGE["names"].get(best) or (f"<{best}> headings" if is_html else f"{'#' * int(best[1:])} headings")
    above = {kind for kind in kinds if best[0] == kind[0] == "h" and kind < best}
    asked = [text for kind, text, _ in lines if kind == best or (kind in above and text.endswith("?"))]
    missed = {IS["number"].sub("", text) for text in asked} - {"", *(text for text, *_ in answered)}
    less = f"; {len(missed)} left out ({min(missed)!r:.50}, …): no text below, or a level above" if missed else ""
    parsed = [dict(zip(("question", "answer", "category"), entry, strict=True)) for entry in answered]
    return parsed, f"questions are the {name}{less}"


def _name_cells(rows: list[list[Tag]]) -> None:
    """If the header of a table names questions and answers, give its cells tags that tell `_lines` which they are."""
    names = [PAGE["columns"].get(_text(str(cell)).casefold(), "template") for cell in (rows or [[]])[0]]
    merged = [0] * len(names)  # how many of the next rows each column has no cell in
    for row in rows if {"row", "dd"} <= {*names} else ():
        free = [n for n, more in enumerate(merged) if not more]
        merged = [max(more - 1, 0) for more in merged]
        for cell, n in zip(row, free, strict=False):
            rows_of_cell = str(cell.get("rowspan", ""))
            merged[n] = int(rows_of_cell) - 1 if rows_of_cell.isdecimal() else 0
            banner = len(row) == 1 and cell.get("colspan")  # a category above its questions
            cell.name = "template" if row is rows[0] else "h6" if banner else names[n]
            if cell.name == "h6" and cell is not row[0]:  # a category after its question
                row[0].insert_before(cell)


def _score(kind: str, tried: dict[str, list[tuple[str, list[str], str]]]) -> tuple[int, int, int]:
    """Return how many different questions count, half for lines, which may be any text, end like one, and in all."""
    asked = {of: {question for question, *_ in found if question.endswith("?")} for of, found in tried.items()}
    number, others = len({question for question, *_ in tried[kind]}), {*asked} - {kind, "line"}
    # What is marked as a question may end otherwise, but <details> and class="question-date" also stand in answers.
    marked = kind in ("summary", "question") and not any(len(asked[of]) > 1 for of in others)
    counted = number if marked or kind in ("Q:", "row") else len(asked[kind])
    return counted * (1 if kind == "line" else 2), len(asked[kind]), number


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
