"""A question in, the best entries of the FAQ out, and the decision whether they answer it."""

import re
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from faqlab.config import BASELINE, RetrievalConfig
from faqlab.decision import CONTENDERS, Outcome, Reason, decide, probabilities
from faqlab.encoder import Encoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.index import VectorIndex
from faqlab.ngrams import NgramIndex
from faqlab.settings import settings
from faqlab.text import clean_query, has_words, is_blank

THIRD_CHOICE = 0.1  # a third choice is offered if it has at least this share of the probability of the first three

SECOND_WEIGHT = 0.7  # of the second encoder's similarity; chosen on `calibration.OTHERS` and on public sets

SAME_ANSWER = 0.85
"""Answers with at least this cosine say the same if their numbers and negations do: either will do."""

SHORT_ANSWER = 12  # words: shorter ones may differ in a single word ("room five", "room six")

NEGATIONS = re.compile(r"\b(?:no|not|never|without|cannot)\b|n['’]t\b", re.IGNORECASE)


@dataclass(frozen=True)
class Hit:
    """One entry found for a query."""

    faq: Faq
    squared_l2: float  # its distance from the query, 0 to 4
    score: float  # the probability that it's right; uncalibrated: its similarity + the weighted n-gram overlap


@dataclass(frozen=True)
class Answer:
    """The result of one look-up: all that calls and the command line need from retrieval."""

    query: str
    outcome: Outcome
    reason: Reason
    hits: tuple[Hit, ...]  # the best `top_k`, best first, for every outcome; more if a clarifying question offers more
    confidence: float  # the probability that the FAQ has the answer; uncalibrated: the highest cosine
    milliseconds: dict[str, float]  # spent in each stage: `embed`, `search`
    choices: tuple[str, ...] = ()  # of a clarifying question: the questions of the first two or three hits

    @property
    def answered(self) -> bool:
        return self.outcome is Outcome.ANSWER

    def as_dict(self) -> dict[str, Any]:
        """Return it flat, ready for JSON: for `--json`, the caller's page and the log of look-ups."""
        keys = ("query", "outcome", "reason", "answered", "confidence", "choices", "hits", "milliseconds")
        hits = [
            {"rank": rank, "id": hit.faq.id, "question": hit.faq.question, "answer": hit.faq.answer}
            | {"squared_l2": hit.squared_l2, "score": hit.score}
            for rank, hit in enumerate(self.hits, start=1)
        ]
        return {key: hits if key == "hits" else getattr(self, key) for key in keys}


@dataclass(frozen=True)
class Ranking:
    """The entries in order for one query, and what to do with them; `Hit` and `Answer` explain the numbers."""

    entries: np.ndarray  # their positions in the FAQ, best first
    squared_l2: np.ndarray
    scores: np.ndarray
    confidence: float
    outcome: Outcome
    reason: Reason
    first: float = 0.0  # the probability that the first entry's answer is right; uncalibrated: its score
    offered: tuple[int, ...] = ()  # the places, from 0, of the entries that a clarifying question offers or would offer


class Retriever:
    """Search over one FAQ with one configuration."""

    def __init__(
        self, faqs: FaqSet, encoder: Encoder, index: VectorIndex, config: RetrievalConfig, beside: Self | None = None
    ) -> None:
        self.faqs, self.encoder, self.index, self.config, self.beside = faqs, encoder, index, config, beside

    @classmethod
    def build(
        cls,
        faqs: FaqSet,
        config: RetrievalConfig = BASELINE,
        encoder: Encoder | None = None,
        cache_dir: Path | None = None,
    ) -> Self:
        """Return a retriever over *faqs*; *encoder* is the first one of *config*, if it's already loaded."""
        cache_dir, beside = cache_dir or settings().cache_dir, None
        encoder = encoder or load_encoder(config.encoder, settings().cache_dir)
        if config.second_encoder:
            alone = config.with_changes(encoder=config.second_encoder, second_encoder="")
            beside = cls.build(faqs, alone, cache_dir=cache_dir)
        index = VectorIndex.open(faqs, encoder, config.views, cache_dir)
        return cls(faqs, encoder, index, config, beside)

    def with_config(self, **changes: Any) -> Self:
        """Return a retriever that decides differently (top_k, thresholds, …) over the same vectors."""
        config = self.config.with_changes(**changes)
        if any(getattr(config, name) != getattr(self.config, name) for name in ("encoder", "second_encoder", "views")):
            raise ValueError("another encoder or view needs Retriever.build")
        other = copy(self)
        other.config = config
        return other

    @property
    def parts(self) -> list[tuple[float, Self]]:
        """The retrievers of each encoder, with the weights of their similarities."""
        return [(1 - SECOND_WEIGHT, self), (SECOND_WEIGHT, self.beside)] if self.beside else [(1.0, self)]

    @cached_property
    def _facts(self) -> list[str]:
        """The `facts` of each answer, and a short one's words."""
        words = [faq.answer.casefold().split() for faq in self.faqs]
        return [f"{facts(' '.join(of))} {of if len(of) <= SHORT_ANSWER else ''}" for of in words]

    @cached_property
    def ngrams(self) -> NgramIndex:
        return NgramIndex(self.index.texts)

    def answer(self, query: str) -> Answer:
        """Look *query* up and decide; FaqlabError if it's blank."""
        start = time.perf_counter()
        similarities = self.similarities([query])
        embedded = time.perf_counter()
        ranking = self._rank(query, similarities[0])
        offered = ranking.offered if ranking.outcome is Outcome.CLARIFY else ()
        # A clarifying question's entries come first, so that a choice is a hit's place.
        order = [*offered, *(n for n in range(len(ranking.entries)) if n not in offered)]
        hits = tuple(
            Hit(self.faqs.entries[ranking.entries[n]], float(ranking.squared_l2[n]), float(ranking.scores[n]))
            for n in order[: max(self.config.top_k, len(offered))]
        )
        choices = tuple(hit.faq.question for hit in hits[: len(offered)])
        milliseconds = {"embed": (embedded - start) * 1e3, "search": (time.perf_counter() - embedded) * 1e3}
        return Answer(query, ranking.outcome, ranking.reason, hits, ranking.confidence, milliseconds, choices)

    def rank(self, queries: Sequence[str]) -> list[Ranking]:
        """Rank the entries for each query and decide, as `answer` does; FaqlabError if one is blank."""
        return [self._rank(*row) for row in zip(queries, self.similarities(queries), strict=True)]

    def similarities(self, queries: Sequence[str]) -> np.ndarray:
        """Return the similarity of each query to each entry, −1 to 1, shape (queries, entries): see `VectorIndex`."""
        return np.sum([weight * of.index.similarities(of.embed(queries)) for weight, of in self.parts], axis=0)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors whose dot products are similarities on that scale: those of both encoders, weighted."""
        return np.hstack([weight**0.5 * of.encoder.encode(texts) for weight, of in self.parts])

    def embed(self, queries: Sequence[str]) -> np.ndarray:
        """Return the queries' unit vectors, float32, shape (queries, dimension); FaqlabError if one is blank."""
        if any(is_blank(query) for query in queries):
            raise FaqlabError("The query is empty: ask something in words.")
        return self.encoder.encode([*map(clean_query, queries)])

    def _rank(self, query: str, similarities: np.ndarray) -> Ranking:
        bonus, config = np.zeros(len(similarities)), self.config
        if config.ngram_weight:
            bonus = config.ngram_weight * self.ngrams.cosines([query])[0]
        entries = np.argsort(-(similarities + bonus), kind="stable")
        similarities, bonus = similarities[entries], bonus[entries]
        squared_l2 = 2 - 2 * similarities
        if config.scale is None:
            confidence = float(similarities.max())
            decided, scores = (Outcome.ANSWER, Reason.UNCALIBRATED), similarities + bonus
            return Ranking(entries, squared_l2, scores, confidence, *decided, float(scores[0]))
        if not has_words(query):  # "???" has a vector too, often close to an entry
            scores = np.zeros(len(entries))
            return Ranking(entries, squared_l2, scores, 0.0, Outcome.DECLINE, Reason.NO_WORDS)
        in_scope, p = probabilities(similarities, bonus, config)
        different = self._different_answers(entries[:CONTENDERS])
        first = float(p[: len(different)][different == 0].sum())
        # With one entry there is nothing to choose from.
        sure = (config.answer_from, config.scope_from) if len(entries) > 1 else (0.0, 0.0)
        outcome, reason = decide(in_scope, first, config.decline_below, *sure)
        offered = [int(n) for n in np.unique(different)[:3]]
        if len(offered) > 2 and p[offered[2]] < THIRD_CHOICE * p[offered].sum():
            offered.pop()
        return Ranking(entries, squared_l2, p, in_scope, outcome, reason, first, tuple(offered))

    def _different_answers(self, entries: np.ndarray) -> np.ndarray:
        """Return for each of *entries* the place of the first one with the same answer: its own, or an earlier one."""
        answers = self.index.answers[entries]
        said = np.array([self._facts[entry] for entry in entries], dtype=object)
        similar = (answers @ answers.T >= SAME_ANSWER) & (said[:, None] == said)
        same = (similar | np.eye(len(answers), dtype=bool)).argmax(axis=1)
        return np.asarray(same[same])  # if A says the same as B and B as C, C counts with A


def facts(text: str) -> tuple[list[str], int]:
    """Return what the encoder blurs: the numbers in *text*, and how often it negates."""
    return sorted({*re.findall("[0-9]+", text)}), len(NEGATIONS.findall(text))
