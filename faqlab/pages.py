"""FAQs in Markdown and HTML: JSON-LD, or questions as headings, summaries, terms, buttons, bold lines or after "Q:"."""

import re
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from typing import Any

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from faqlab.formats import entries, parse
from faqlab.text import IS, KNOWN

PAGE = KNOWN["page"]


def page_entries(text: str, is_html: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the questions of a page with what is below each, and how they were recognised; none if there are none."""
    if not is_html:
        text = MarkdownIt("commonmark", {"breaks": True}).enable("table").render(IS["front_matter"].sub("", text))
    page = BeautifulSoup(IS["open_term"].sub("</dt></dd>", text), "html.parser")
    linked: list[dict[str, Any]] = []
    for script in page("script", type="application/ld+json"):
        with suppress(ValueError):
            linked += entries(parse(script.get_text()))
    for entry in linked:
        entry["question"] = _text(entry.get("question", ""))
        if "<" not in entry.get("answer", "<"):  # its tags may be escaped
            entry["answer"] = unescape(entry["answer"])
    if linked:
        return linked, "from its JSON-LD"
    lines = [*_lines(page)]
    tried = {kind: _found(lines, kind) for kind in {kind for kind, *_ in lines if kind}}
    best = max(tried, key=lambda kind: (_score(kind, tried[kind]), kind), default="")
    found = tried.get(best, [])
    if _score(best, found) < (0, 2):
        return [], ""
    name = PAGE["names"].get(best) or (f"<{best}> headings" if is_html else f"{'#' * int(best[1:])} headings")
    above = {kind for kind in tried if best[0] == kind[0] == "h" and kind < best}
    asked = [text for kind, text, _ in lines if kind == best or (kind in above and text.endswith("?"))]
    missed = {IS["number"].sub("", text) for text in asked} - {"", *(text for text, *_ in found)}
    less = f"; {len(missed)} left out ({min(missed)!r:.50}, …): no text below, or a level above" if missed else ""
    titled = len({category for *_, category in found}) > 1  # a single one is the page's title
    tidy = ((text, _tidy("".join(parts)), category if titled else "") for text, parts, category in found)
    parsed = [dict(zip(("question", "answer", "category"), entry, strict=True)) for entry in tidy if entry[1]]
    return parsed, f"questions are the {name}{less}"


def _score(kind: str, found: list[tuple[str, list[str], str]]) -> tuple[int, int]:
    """Return how many different questions end like one, half for lines, which may also be any text, and in all."""
    questions = {question for question, *_ in found}
    asked = sum(question.endswith("?") or kind == "Q:" for question in questions)
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
