"""A question in, the FAQ's best answers out, and the decision whether they answer it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from faqlab.cache import write_aside
from faqlab.decision import Outcome, decide, probabilities
from faqlab.encoder import MINILM, Encoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.index import VIEWS, VectorIndex
from faqlab.lexical import NgramIndex
from faqlab.settings import RETRIEVAL, settings
from faqlab.text import has_words, says_something

log = logging.getLogger(__name__)

RANGES: dict[str, tuple[float, float]] = {
    "scale": (1, 1000),
    "none": (-1, 1),
    "lexical": (0, 10),
    "decline_below": (0, 1),
    "answer_from": (0, 1),
}
"""What each number of a configuration may be."""


@dataclass(frozen=True)
class RetrievalConfig:
    """
    All that decides how a question is answered. The defaults are the baseline: the seed's configuration.

    Attributes:
        encoder: Name of the encoder.
        views: What of each entry is embedded: any of `question`, `question_answer`, `answer`.
        top_k: How many entries are handed to the model.
        scale: Turns cosines into probabilities, with *none*; see `faqlab.decision`. Without it everything is answered.
        none: The cosine that "no entry is right" stands for.
        lexical: How much the similarity letter by letter (see `faqlab.lexical`) counts beside the cosine where entries
            are weighed against one another (order, scores, answer or ask back), not for whether any is right.
        decline_below: Calibrated, decline where the probability that some entry is right is less.
        answer_from: Else answer where the probability that the first is right is at least this, or ask back.
    """

    encoder: str = MINILM
    views: tuple[str, ...] = ("question",)
    top_k: int = 3
    scale: float | None = None
    none: float = 0.5
    lexical: float = 0.0
    decline_below: float = 0.0
    answer_from: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.top_k, int) or isinstance(self.top_k, bool) or self.top_k < 1:
            raise FaqlabError(f"top_k is {self.top_k!r}: expected a whole number from 1 up.")
        if not isinstance(self.encoder, str) or not self.encoder:
            raise FaqlabError(f"encoder is {self.encoder!r}: expected the name of one, such as {MINILM!r}.")
        if not isinstance(self.views, tuple):
            raise FaqlabError(f"views are {self.views!r}: expected a list of some of {list(VIEWS)}.")
        if not self.views or any(view not in list(VIEWS) for view in self.views):
            raise FaqlabError(f"views are {list(self.views)}: expected some of {list(VIEWS)}.")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is None and name == "scale":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise FaqlabError(f"{name} is {value!r}: expected a number from {low} to {high}.")
        if self.scale is None and (self.decline_below or self.answer_from):
            raise FaqlabError("decline_below and answer_from mean nothing without a scale: add one, or leave both out.")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """
        Read a configuration; a file that is not there means the baseline, and a warning unless it is the project's own.

        Raises:
            FaqlabError: the file is not JSON, or names or values are unknown; the message says which.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            if Path(path) != RETRIEVAL:
                log.warning(
                    "%s: no such file, so questions are decided as in the baseline: copy %s there, or run notebook 3.",
                    path,
                    RETRIEVAL,
                )
            return cls()
        except (OSError, ValueError, RecursionError) as error:
            raise FaqlabError(
                f"{path}: cannot be read as JSON ({error}): mend or delete it (then: the baseline)."
            ) from None
        known = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or not set(data) <= known:
            what = sorted(set(data) - known) if isinstance(data, dict) else type(data).__name__
            raise FaqlabError(f"{path}: unknown setting {what}: known are {sorted(known)}.")
        if isinstance(data.get("views"), list):
            data["views"] = tuple(data["views"])
        try:
            return cls(**data)
        except (FaqlabError, TypeError) as error:
            raise FaqlabError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """
        Write the configuration as JSON, numbers rounded so that a rerun writes the same file.

        Raises:
            FaqlabError: *path* cannot be written.
        """
        data = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}
        try:
            write_aside(Path(path), (json.dumps(data, indent=2) + "\n").encode())
        except OSError as error:
            raise FaqlabError(
                f"{path}: cannot be written ({error.strerror}): name another file by FAQLAB_RETRIEVAL."
            ) from None


DEPTH = 1000
"""How many entries, the nearest, are weighed for a query; an FAQ with fewer is weighed whole."""

THIRD_CHOICE = 0.1
"""A third choice is offered where it is at least this likely, if one of the three is right: a caller must hear it."""

BASELINE = RetrievalConfig()
"""The configuration that everything is compared with: question vectors of MiniLM, the nearest three, no threshold."""


@dataclass(frozen=True)
class Hit:
    """
    One entry found for a query.

    Attributes:
        rank: 1 is the best.
        faq: The entry.
        squared_l2: Its squared L2 distance, 0 to 4, from the query, or from the one of two questions that it answers.
        score: Higher is better: the probability that it is right, or where nothing is calibrated the cosine
            similarity, 1 − squared_l2 / 2, with what `lexical` adds.
    """

    rank: int
    faq: Faq
    squared_l2: float
    score: float


@dataclass(frozen=True)
class Answer:
    """
    The result of one look-up: all that callers outside the notebooks need.

    Attributes:
        query: What was asked.
        outcome: Whether the hits answer it.
        hits: The best `top_k` entries, best first; more where more are answered, or offered to choose from.
        confidence: Higher is surer that the FAQ holds the answer: the probability that some entry is right, or
            where nothing is calibrated the cosine of the nearest. Two questions that are answered are at least as sure
            as the less sure of them alone.
        milliseconds: Time spent, by stage: `embed`, `search`.
        answers: For *answer*: how many of the first hits are the answer; 2 or 3 where so many questions are asked.
        choices: For *ask_back*: the questions of the first two or three hits, to choose from.
    """

    query: str
    outcome: Outcome
    hits: tuple[Hit, ...]
    confidence: float
    milliseconds: dict[str, float]
    answers: int = 1
    choices: tuple[str, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the assistant answers."""
        return self.outcome is Outcome.ANSWER


@dataclass(frozen=True)
class Ranking:
    """
    The entries in order for one query, and what to do with them.

    Attributes:
        entries: Entry numbers, best first.
        squared_l2: Their squared L2 distances, 0 to 4.
        scores: As in `Hit`.
        confidence: As in `Answer`.
        outcome: As in `Answer`.
        answers: As in `Answer`.
        choices: How many of the first to offer when asking back.
    """

    entries: np.ndarray
    squared_l2: np.ndarray
    scores: np.ndarray
    confidence: float
    outcome: Outcome
    answers: int = 1
    choices: int = 0


class Retriever:
    """
    Search over one FAQ with one configuration.

    Attributes:
        faqs: The entries.
        encoder: Makes the vectors.
        index: Holds them.
        config: Decides.
    """

    def __init__(self, faqs: FaqSet, encoder: Encoder, index: VectorIndex, config: RetrievalConfig) -> None:
        self.faqs, self.encoder, self.index, self.config = faqs, encoder, index, config

    @cached_property
    def ngrams(self) -> NgramIndex:
        """The entries letter by letter, question and answer; made when first needed."""
        return NgramIndex([VIEWS["question_answer"](faq) for faq in self.faqs])

    @classmethod
    def build(
        cls,
        faqs: FaqSet,
        config: RetrievalConfig = BASELINE,
        *,
        encoder: Encoder | None = None,
        cache_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """
        Return a retriever over *faqs*, its index taken from the cache when that is still true, else built.

        Args:
            faqs: The entries.
            config: How to search and decide; the baseline if not given.
            encoder: In place of the one that *config* names, when it is loaded already.
            cache_dir: In place of `embeddings_cache`.
            progress: Show a bar while embedding.
        """
        cache_dir = cache_dir or settings().cache_dir
        encoder = encoder or load_encoder(config.encoder, cache_dir)
        index = VectorIndex.open(faqs, encoder, config.views, cache_dir, progress=progress)
        retriever = cls(faqs, encoder, index, config)
        if config.lexical:
            _ = retriever.ngrams  # now, not within the first look-up
        return retriever

    def with_config(self, **changes: Any) -> Retriever:
        """Return a retriever that decides otherwise (top_k, lexical, thresholds) over the same vectors."""
        config = replace(self.config, **changes)
        if (config.encoder, config.views) != (self.config.encoder, self.config.views):
            raise ValueError("another encoder or view needs Retriever.build")
        other = copy(self)
        other.config = config
        return other

    @property
    def threshold(self) -> float | None:
        """The confidence below which the assistant declines; None if it never does."""
        return None if self.config.scale is None else self.config.decline_below or None

    @property
    def squared_l2_threshold(self) -> float | None:
        """How far an entry may be for the same, were it alone; others near it help. None as for `threshold`."""
        if self.config.scale is None or not 0 < self.config.decline_below < 1:
            return None
        odds = self.config.decline_below / (1 - self.config.decline_below)
        return float(np.clip(2 - 2 * (self.config.none + np.log(odds) / self.config.scale), 0, 4))

    def answer(self, query: str) -> Answer:
        """
        Look *query* up and decide.

        Raises:
            FaqlabError: the query holds nothing to look up.
        """
        start = time.perf_counter()
        parts = self._parts(query)
        vectors = self.embed(parts)
        embedded = time.perf_counter()
        ranking = self._rank(parts, vectors)
        asks = ranking.outcome is Outcome.ASK_BACK
        hits = self._hits(ranking, max(self.config.top_k, ranking.choices if asks else ranking.answers))
        choices = tuple(hit.faq.question for hit in hits[: ranking.choices]) if asks else ()
        found = time.perf_counter()
        milliseconds = {"embed": (embedded - start) * 1e3, "search": (found - embedded) * 1e3}
        return Answer(query, ranking.outcome, hits, ranking.confidence, milliseconds, ranking.answers, choices)

    def search(self, query: str, top_k: int | None = None) -> tuple[Hit, ...]:
        """
        Return the *top_k* best entries for *query*, best first; all of them if there are fewer.

        Raises:
            FaqlabError: the query holds nothing to look up, or *top_k* is below 1.
        """
        top_k = self.config.top_k if top_k is None else replace(self.config, top_k=top_k).top_k
        return self._hits(self._rank([query], self.embed([query]), top_k), top_k)

    def rank(self, queries: Sequence[str], *, progress: bool = False) -> list[Ranking]:
        """
        Rank the entries for each query and decide, as `answer` does.

        Raises:
            FaqlabError: a query holds nothing to look up.
        """
        parts = [self._parts(query) for query in queries]
        vectors = self.embed([text for texts in parts for text in texts], progress=progress)
        ends = np.cumsum([len(texts) for texts in parts])
        return list(map(self._rank, parts, np.split(vectors, ends[:-1]))) if parts else []

    def embed(self, queries: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """
        Return the queries' unit vectors, float32, shape (queries, dimension).

        Raises:
            FaqlabError: a query holds nothing but spaces and control characters.
        """
        for query in queries:
            if not says_something(query):
                raise FaqlabError("The query is empty: ask something in words.")
        return self.encoder.encode(queries, progress=progress)

    def _parts(self, query: str) -> list[str]:
        """Return *query* and below it, where it asks more than one thing and there is a way to decide, each of them."""
        return [query, *(questions(query) if self.config.scale is not None else ())]

    def _rank(self, texts: Sequence[str], vectors: np.ndarray, depth: int = DEPTH) -> Ranking:
        """Rank and decide for one query: *texts* are its `_parts`, *vectors* theirs, shape (parts, dimension)."""
        distances, entries = self.index.search(vectors, max(depth, DEPTH))
        whole, *parts = (self._judge(*of_one) for of_one in zip(texts, distances, entries, strict=True))
        firsts = {int(part.entries[0]) for part in parts if part.outcome is Outcome.ANSWER}
        if len(firsts) < max(2, len(parts)):  # one of them alone is no clear question: the whole tells more
            return whole
        others = ~np.isin(whole.entries, list(firsts))

        def first_of_each_then_others(name: str) -> np.ndarray:
            return np.concatenate([[getattr(part, name)[0] for part in parts], getattr(whole, name)[others]])

        return Ranking(
            entries=first_of_each_then_others("entries"),
            squared_l2=first_of_each_then_others("squared_l2"),
            scores=first_of_each_then_others("scores"),
            confidence=max(whole.confidence, min(part.confidence for part in parts)),
            outcome=Outcome.ANSWER,
            answers=len(parts),
            choices=whole.choices,
        )

    def _judge(self, text: str, squared_l2: np.ndarray, entries: np.ndarray) -> Ranking:
        cosines, config = 1 - squared_l2 / 2, self.config
        bonus = np.zeros(len(entries))
        if config.lexical:
            bonus = config.lexical * self.ngrams.cosines([text])[0, entries]
            order = np.argsort(-(cosines + bonus), kind="stable")
            squared_l2, entries, cosines, bonus = squared_l2[order], entries[order], cosines[order], bonus[order]
        if config.scale is None:
            return Ranking(entries, squared_l2, cosines + bonus, float(cosines.max()), Outcome.ANSWER)
        if not has_words(text):  # "???" lies somewhere too, and often near
            return Ranking(entries, squared_l2, np.zeros(len(entries)), 0.0, Outcome.DECLINE)
        p = probabilities(cosines[None], config.scale, config.none, bonus[None])[0]
        outcome = decide(1 - p[-1], p[0], config.decline_below, config.answer_from)
        if outcome is Outcome.ASK_BACK and len(entries) == 1:
            outcome = Outcome.ANSWER
        choices = 3 if len(entries) > 2 and p[2] >= THIRD_CHOICE * p[:3].sum() else 2
        return Ranking(entries, squared_l2, p[:-1], float(1 - p[-1]), outcome, choices=min(choices, len(entries)))

    def _hits(self, ranking: Ranking, top_k: int) -> tuple[Hit, ...]:
        rows = zip(ranking.entries[:top_k], ranking.squared_l2, ranking.scores, strict=False)
        return tuple(
            Hit(rank, self.faqs.entries[entry], float(distance), float(score))
            for rank, (entry, distance, score) in enumerate(rows, start=1)
        )


def questions(query: str) -> list[str]:
    """
    Return the two or three parts of *query*, of which at least two ask; nothing where it looks like one question.

    A part asks by a word like "how", or by beginning with one like "can". Of the queries of the tune split and the
    validation trades that tells 7 % apart (any two parts: 33 %, mostly stories), and two answers are given to 18 of
    1,223, to 14 of them rightly (27 and 16).
    """
    query = " ".join(query.split())  # or the pattern would try each run of spaces from each of them
    parts = [part.strip(" ,.?!") for part in _BETWEEN_QUESTIONS.split(query)]
    parts = [part for part in parts if len(part.split()) >= 3]
    asking = sum(bool(_ASKS.search(part)) for part in parts)
    return parts if asking >= 2 and len(parts) <= 3 else []


_WH = r"(?:how|what|when|where|which|who|why)\b"
_AUXILIARY = r"(?:can|could|do|does|did|is|are|will|would|should|may)\b"
_ASKS = re.compile(rf"\b{_WH}|(?:^|[,:]\s*)(?:(?:so|um|uh|and|also|oh|plus|or)\W+)*{_AUXILIARY}", re.IGNORECASE)
_BETWEEN_QUESTIONS = re.compile(
    rf"[?;.!]\s+|,?\s*\b(?:and also|and|also|oh and|plus|or)\s+(?={_WH}|{_AUXILIARY})", re.IGNORECASE
)


def format_context(hits: Sequence[Hit]) -> str:
    """Return the hits as a language model reads them: blocks of `Q: …` and `A: …`, parted by a blank line."""
    return "\n\n".join(f"Q: {hit.faq.question}\nA: {hit.faq.answer}" for hit in hits)
