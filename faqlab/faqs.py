"""An FAQ file, read and checked."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from faqlab.cache import sha256
from faqlab.errors import FaqlabError, first_problem
from faqlab.text import is_blank, normalised, read_text


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("empty")
    return text.strip()


def _one_word(text: str) -> str:
    if len(text.split()) > 1:
        raise ValueError("an id can't contain spaces, because labels separate ids by spaces")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]
Id = Annotated[Text, BeforeValidator(lambda v: str(v) if type(v) is int else v), AfterValidator(_one_word)]


@dataclass(frozen=True)
class Faq:
    """One question and its answer."""

    id: Id
    question: Text
    answer: Text
    category: Annotated[str, AfterValidator(str.strip)] = ""
    alternatives: tuple[Text, ...] = ()  # other ways to ask the question


@dataclasses.dataclass(frozen=True)
class FaqSet:
    """The entries of one FAQ, in the order of its file; ids and questions are unique."""

    entries: tuple[Faq, ...]
    path: Path | None = None

    @classmethod
    def load(cls, path: str | Path) -> FaqSet:
        """
        Read an FAQ from a JSON file `{"questions": [{"question": …, "answer": …}, …]}`.

        Optional: `id` (default: the position, from 0), `category` and `alternatives`, a list of other ways to ask the
        question. Other fields are ignored.

        Raises:
            FaqlabError: The file can't be read, or something in it is missing, wrong or a duplicate.
        """
        text = read_text(Path(path), "name your FAQ with --faqs or FAQLAB_FAQS")
        try:
            data = READERS.get(Path(path).suffix.lower(), read_json)(text)
            return cls(_File.model_validate(data).questions, Path(path))
        except ValidationError as error:
            problem = re.sub(r"a (?:valid )?dictionary or (?:an )?instance of \w+", "an object", first_problem(error))
            problem = problem.replace("a valid tuple", "a list of texts")
            problem = re.sub(r"^questions\.(\d+)(?:\.|: )", r"question \1 (counted from 0): ", problem)
            expected = '{"questions": [{"question": "…", "answer": "…"}, …]}'
            raise FaqlabError(f"{path}: {problem}; expected {expected}.") from None

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Faq]:
        return iter(self.entries)

    def __getitem__(self, faq_id: str) -> Faq:
        return self.entries[self.position[faq_id]]

    @cached_property
    def position(self) -> dict[str, int]:
        """Where each id is in `entries`, from 0."""
        return {faq.id: position for position, faq in enumerate(self.entries)}

    @cached_property
    def phrasings(self) -> dict[str, str]:
        """The id of the entry for each `normalised` question and alternative."""
        return {normalised(text): faq.id for faq in self.entries for text in (faq.question, *faq.alternatives)}

    @property
    def ids(self) -> list[str]:
        return list(self.position)

    @property
    def sha256(self) -> str:
        """The hash of every text that retrieval depends on: ids, questions, their alternatives and answers."""
        texts = [[faq.id, faq.question, *faq.alternatives, faq.answer] for faq in self.entries]
        return sha256(json.dumps(texts, ensure_ascii=False).encode())


class _File(BaseModel):
    questions: tuple[Faq, ...]

    @field_validator("questions", mode="wrap")
    @classmethod
    def _numbered_and_unique(cls, given: Any, check: Callable[[Any], tuple[Faq, ...]]) -> tuple[Faq, ...]:
        if not isinstance(given, list):
            raise ValueError("expected a list")
        entries = check(tuple({"id": n, **e} if isinstance(e, dict) else e for n, e in enumerate(given)))
        if not entries:
            raise ValueError("none; add at least one")
        known: dict[tuple[str, str], int] = {}
        for position, faq in enumerate(entries):
            asked = {" ".join(text.casefold().split()) for text in (faq.question, *faq.alternatives)}
            for what, text in (("id", faq.id), *(("question", text) for text in sorted(asked))):
                first = known.setdefault((what, text), position)
                if first != position:
                    places = f"{first} and {position} (counted from 0)"
                    raise ValueError(f"{places} have the same {what} {text!r}: rename or merge them")
        return entries


read_json = TypeAdapter(Any).validate_json
READERS: dict[str, Callable[[str], Any]] = {".json": read_json}
"""Formats of FAQ files, by suffix. A reader turns the file's text into the same structure as the JSON format."""
