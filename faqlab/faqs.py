"""An FAQ file, read and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faqlab.errors import FaqlabError
from faqlab.text import read_text, says_something, whole

SHAPE = '{"questions": [{"question": "…", "answer": "…"}, …]}'


@dataclass(frozen=True)
class Faq:
    """One question and its answer."""

    id: str
    question: str
    answer: str
    category: str = ""


@dataclass(frozen=True)
class FaqSet:
    """The entries of one FAQ, in file order, with ids and questions that are all different."""

    entries: tuple[Faq, ...]
    path: Path | None = None
    position: dict[str, int] = field(init=False, repr=False, compare=False)
    """Where in *entries* each id stands, from 0."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", {faq.id: position for position, faq in enumerate(self.entries)})

    @classmethod
    def load(cls, path: str | Path) -> FaqSet:
        """
        Read an FAQ from a JSON file of the shape `{"questions": [{"question": …, "answer": …}, …]}`.

        `id` and `category` are optional in each entry; an entry without an id gets its position, from 0.

        Raises:
            FaqlabError: no such file, not UTF-8, not JSON, another shape, an empty or missing text, or an id
                or question that stands twice. The message names the file, the entry and the remedy.
        """
        path = Path(path)
        data = _read_json(path)
        if not isinstance(data, dict) or not isinstance(data.get("questions"), list):
            raise FaqlabError(f"{path}: not an FAQ: expected {SHAPE}.")
        if not data["questions"]:
            raise FaqlabError(f"{path}: the list of questions is empty: add at least one entry.")
        entries = tuple(_entry(path, position, raw) for position, raw in enumerate(data["questions"]))
        _refuse_twins(path, entries)
        return cls(entries, path)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Faq]:
        return iter(self.entries)

    def __getitem__(self, faq_id: str) -> Faq:
        """Return the entry with this id; KeyError if there is none."""
        return self.entries[self.position[faq_id]]

    def __contains__(self, faq_id: object) -> bool:
        return faq_id in self.position

    @property
    def ids(self) -> list[str]:
        """The ids, in file order."""
        return list(self.position)

    @property
    def sha256(self) -> str:
        """The hash of every text that retrieval depends on: it changes when, and only when, an entry does."""
        text = json.dumps([[faq.id, faq.question, faq.answer] for faq in self.entries], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _read_json(path: Path) -> Any:
    text = read_text(path, "name your FAQ by --faqs or FAQLAB_FAQS")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FaqlabError(f"{path}: not JSON (line {error.lineno}: {error.msg}): expected {SHAPE}.") from None
    except (RecursionError, ValueError):  # ValueError: a number of more than 4,300 digits
        raise FaqlabError(f"{path}: nested too deeply, or numbers too long, for an FAQ: expected {SHAPE}.") from None


def _entry(path: Path, position: int, raw: Any) -> Faq:
    expected = 'expected {"question": "…", "answer": "…"}'
    if not isinstance(raw, dict):
        raise FaqlabError(f"{path}: question {position} is not an object ({expected}).")
    texts = {}
    for key in ("question", "answer"):
        value = raw.get(key)
        if not isinstance(value, str) or not says_something(whole(value)):
            raise FaqlabError(f"{path}: question {position} has no {key} ({expected}).")
        texts[key] = value.strip()
    for key, value in raw.items():
        if isinstance(value, str) and value != whole(value):
            raise FaqlabError(
                f"{path}: the {key} of question {position} holds half a character (\\ud800–\\udfff): write it again."
            )
    faq_id = raw.get("id", position)
    if not isinstance(faq_id, str | int) or isinstance(faq_id, bool) or not str(faq_id).strip():
        raise FaqlabError(
            f"{path}: question {position} has an id that is neither text nor a number: mend or leave it out."
        )
    faq_id = str(faq_id).strip()
    if len(faq_id.split()) > 1:
        raise FaqlabError(
            f"{path}: question {position} has the id {faq_id!r}: ids have no spaces (the labels part them by spaces)."
        )
    category = raw.get("category", "")
    if not isinstance(category, str):
        raise FaqlabError(f"{path}: question {position} has a category that is not text.")
    return Faq(faq_id, texts["question"], texts["answer"], category.strip())


def _refuse_twins(path: Path, entries: tuple[Faq, ...]) -> None:
    ids: dict[str, int] = {}
    questions: dict[str, int] = {}
    for position, faq in enumerate(entries):
        if faq.id in ids:
            raise FaqlabError(
                f"{path}: questions {ids[faq.id]} and {position} have the same id {faq.id!r}: rename one."
            )
        key = " ".join(faq.question.casefold().split())
        if key in questions:
            raise FaqlabError(
                f"{path}: questions {questions[key]} and {position} are the same ({faq.question!r}): merge them."
            )
        ids[faq.id], questions[key] = position, position
