"""An FAQ file, read and checked."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass

from faqlab.cache import sha256
from faqlab.errors import FaqlabError
from faqlab.formats import FIELDS, entries, parse, read_table, records
from faqlab.settings import exists
from faqlab.text import normalised, read_text, write_text

PAGES = (".html", ".htm", ".md", ".markdown", ".mdx", ".txt")

log = logging.getLogger(__name__)


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def tidy_id(value: object) -> str:
    """Return an id with hyphens instead of spaces, because labels separate ids by spaces; 3.0 means 3."""
    return "-".join(re.sub(r"^(\d+)\.0$", r"\1", str(value)).split())


@dataclass(frozen=True)
class Faq:
    """One question and its answer."""

    id: Annotated[Text, BeforeValidator(tidy_id)]
    question: Text
    answer: Text
    category: Annotated[str, StringConstraints(strip_whitespace=True)] = ""
    alternatives: tuple[Text, ...] = ()  # other ways to ask the question


@dataclasses.dataclass(frozen=True)
class FaqSet:
    """The entries of one FAQ, in the order of its file; ids and questions are unique."""

    entries: tuple[Faq, ...]
    path: Path | None = None

    @classmethod
    def load(cls, path: str | Path) -> FaqSet:
        """Read an FAQ file; FaqlabError if it can't be read, or something in it is missing, wrong or a duplicate."""
        path = Path(path)
        found, how = _read(path, "name your FAQ with --faqs or FAQLAB_FAQS")
        expected = 'expected {"questions": [{"question": "…", "answer": "…"}, …]}'
        if not found:
            raise FaqlabError(f"{path}: no questions and answers found; {expected}, or columns or headings with them.")
        found = [{"id": n, "where": f"question no. {n + 1}"} | entry for n, entry in enumerate(found)]
        for field in ("question", "answer"):
            if lacking := [entry["where"] for entry in found if not entry.get(field)]:
                places = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
                raise FaqlabError(f"{path}: {places}: {field}: missing, or only a placeholder; {expected}.")
        checked = TypeAdapter(tuple[Faq, ...]).validate_python(found)
        faqs = cls(_distinct(checked, [entry["where"] for entry in found], path), path)
        if how:
            _say(f"{len(faqs)} entries from {path}: {how}.")
        return faqs

    def save(self, path: Path) -> None:
        """Write the entries as JSON to a new file; FaqlabError if it exists or can't be written."""
        questions = [{field: value for field, value in dataclasses.asdict(faq).items() if value} for faq in self]
        if exists(path):
            raise FaqlabError(f"{path}: can't be written (File exists); name a new file with -o.")
        write_text(path, json.dumps({"questions": questions}, indent=2, ensure_ascii=False), "name a new file with -o")

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Faq]:
        return iter(self.entries)

    def __getitem__(self, faq_id: str) -> Faq:
        return self.entries[self.position[faq_id]]

    @cached_property
    def position(self) -> dict[str, int]:
        return {faq.id: position for position, faq in enumerate(self.entries)}

    @cached_property
    def phrasings(self) -> dict[str, str]:
        """The id of the entry for each `normalised` question and alternative."""
        return {normalised(text): faq.id for faq in self for text in (*faq.alternatives, faq.question)}

    @property
    def ids(self) -> list[str]:
        return list(self.position)

    @property
    def sha256(self) -> str:
        """The hash of every text that retrieval depends on: ids, questions, their alternatives and answers."""
        texts = [[faq.id, faq.question, *faq.alternatives, faq.answer] for faq in self.entries]
        return sha256(json.dumps(texts, ensure_ascii=False).encode())


def _read(path: Path, remedy: str) -> tuple[list[dict[str, Any]], str]:
    """Return the entries of an FAQ file, with our names for their fields, unchecked, and how they were found."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".xlsx"):
        rows, how = records(*read_table(path, remedy, [FIELDS["question"], FIELDS["answer"]]))
        return [{"where": f"line {line}"} | entry for line, row in rows.items() for entry in entries(row)], how
    if suffix not in ("", ".json", ".jsonl", ".yaml", ".yml", *PAGES):
        raise FaqlabError(f"{path}: {suffix} isn't read; save it as JSON, YAML, CSV, XLSX, Markdown or HTML.")
    text = read_text(path, remedy)
    if suffix in PAGES:
        from faqlab.pages import page_entries

        return page_entries(text, suffix)
    try:
        data = parse(text, suffix)
        ours = data.get("questions") if isinstance(data, dict) else None
        if isinstance(ours, list) and any(isinstance(entry, dict) for entry in ours):  # a text is half an entry
            data["questions"] = [{"question": item} if isinstance(item, str) else item for item in ours]
        found = [*entries(data)]
    except Exception as error:  # whatever the parsers raise
        raise FaqlabError(f"{path}: not {suffix[1:].upper() or 'JSON'} ({error}); correct it.") from None
    return found, "" if isinstance(ours, list) else "known by the names of their fields"


def _distinct(entries: Sequence[Faq], where: Sequence[str], path: Path) -> tuple[Faq, ...]:
    """Return *entries*, each once; FaqlabError if two that aren't the same share an id or a phrasing."""
    first = dict[tuple[str, str], int]()
    for n, faq in enumerate(entries):
        first.setdefault((normalised(faq.question), normalised(faq.answer)), n)
    if repeated := len(entries) - len(first):
        _say(f"{path}: {repeated} entries repeat a question and its answer; they are left out.")
    answers = Counter(question for question, _ in first)
    kept, users = list[Faq](), defaultdict[tuple[str, str], dict[int, str]](dict)
    for (question, _), n in first.items():
        faq = entries[n]
        if faq.category and answers[question] > 1:
            faq = dataclasses.replace(faq, question=f"{faq.question} ({faq.category})")
        kept.append(faq)
        users["id", faq.id][n] = faq.id
        for text in (*faq.alternatives, faq.question):
            users["question", normalised(text)][n] = text
    shared = [
        (of, [where[n] for n in of_all], min(of_all.items())[1]) for (of, _), of_all in users.items() if len(of_all) > 1
    ]
    if shared:
        groups = "; ".join(f"{' and '.join(at)} have the same {of} {text!r}" for of, at, text in shared[:2])
        more = f"; and {len(shared) - 2} more such groups" if len(shared) > 2 else ""
        remedy = "merge them, or give each another question, id or category"
        raise FaqlabError(f"{path}: {groups}{more}: {remedy}.")
    return tuple(kept)


_say = lru_cache(log.warning)  # once, though several parts of a program may load the FAQ
