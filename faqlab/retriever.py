"""A question in, the best entries of the FAQ out, and the decision whether they answer it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from faqlab.config import BASELINE, RetrievalConfig
from faqlab.decision import Outcome, Reason, decide, probabilities
from faqlab.encoder import Encoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.index import VIEWS, VectorIndex
from faqlab.ngrams import NgramIndex
from faqlab.settings import settings
from faqlab.text import has_words, is_blank

DEPTH = 1000
"""How many of the nearest entries are ranked for a query; an FAQ with fewer is ranked whole."""

THIRD_CHOICE = 0.1
"""A third choice is offered if it has at least this share of the probability of the first three."""


@dataclass(frozen=True)
class Hit:
    """One entry found for a query."""

    rank: int  # 1 is the best
    faq: Faq
    squared_l2: float  # its distance from the query, 0 to 4
    score: float  # the probability that it's right; uncalibrated: 1 − squared_l2 / 2 + the weighted n-gram overlap


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
            {"rank": hit.rank, "id": hit.faq.id, "question": hit.faq.question, "answer": hit.faq.answer}
            | {"squared_l2": hit.squared_l2, "score": hit.score}
            for hit in self.hits
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
    choices: int = 0  # how many of the first entries a clarifying question offers, or would offer


class Retriever:
    """Search over one FAQ with one configuration."""

    def __init__(self, faqs: FaqSet, encoder: Encoder, index: VectorIndex, config: RetrievalConfig) -> None:
        self.faqs, self.encoder, self.index, self.config = faqs, encoder, index, config

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
        Return a retriever over *faqs*, with the cached index if that is still valid, else a new one.

        *encoder*, if given, is the one that *config* names, already loaded; *cache_dir* overrides the settings' folder.
        """
        cache_dir = cache_dir or settings().cache_dir
        encoder = encoder or load_encoder(config.encoder, cache_dir)
        index = VectorIndex.open(faqs, encoder, config.views, cache_dir, progress=progress)
        retriever = cls(faqs, encoder, index, config)
        if config.ngram_weight:
            _ = retriever.ngrams  # computed now rather than during the first look-up
        return retriever

    def with_config(self, **changes: Any) -> Retriever:
        """Return a retriever that decides differently (top_k, thresholds, …) over the same vectors."""
        config = self.config.with_changes(**changes)
        if (config.encoder, config.views) != (self.config.encoder, self.config.views):
            raise ValueError("another encoder or view needs Retriever.build")
        other = copy(self)
        other.config = config
        return other

    @cached_property
    def ngrams(self) -> NgramIndex:
        """The character n-grams of each entry's question and answer."""
        return NgramIndex([VIEWS["question_answer"](faq) for faq in self.faqs])

    @property
    def squared_l2_threshold(self) -> float | None:
        """The distance beyond which a single entry isn't enough to answer; None if nothing is ever declined."""
        p, scale = self.config.decline_below, self.config.scale
        if scale is None or not 0 < p < 1:
            return None
        return float(np.clip(2 - 2 * (self.config.null_cosine + np.log(p / (1 - p)) / scale), 0, 4))

    def answer(self, query: str) -> Answer:
        """Look *query* up and decide; FaqlabError if it's blank."""
        start = time.perf_counter()
        vectors = self.embed([query])
        embedded = time.perf_counter()
        [ranking] = self._rank([query], vectors)
        offered = ranking.choices if ranking.outcome is Outcome.CLARIFY else 0
        hits = tuple(
            Hit(n + 1, self.faqs.entries[entry], float(ranking.squared_l2[n]), float(ranking.scores[n]))
            for n, entry in enumerate(ranking.entries[: max(self.config.top_k, offered)])
        )
        choices = tuple(hit.faq.question for hit in hits[:offered])
        milliseconds = {"embed": (embedded - start) * 1e3, "search": (time.perf_counter() - embedded) * 1e3}
        return Answer(query, ranking.outcome, ranking.reason, hits, ranking.confidence, milliseconds, choices)

    def rank(self, queries: Sequence[str], *, progress: bool = False) -> list[Ranking]:
        """Rank the entries for each query and decide, as `answer` does; FaqlabError if one is blank."""
        return self._rank(queries, self.embed(queries, progress=progress)) if len(queries) else []

    def embed(self, queries: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """Return the queries' unit vectors, float32, shape (queries, dimension); FaqlabError if one is blank."""
        if any(is_blank(query) for query in queries):
            raise FaqlabError("The query is empty: ask something in words.")
        return self.encoder.encode(queries, progress=progress)

    def _rank(self, queries: Sequence[str], vectors: np.ndarray) -> list[Ranking]:
        squared_l2, entries = self.index.search(vectors, max(self.config.top_k, DEPTH))
        return [self._rank_one(*row) for row in zip(queries, squared_l2, entries, strict=True)]

    def _rank_one(self, query: str, squared_l2: np.ndarray, entries: np.ndarray) -> Ranking:
        cosines, bonus, config = 1 - squared_l2 / 2, np.zeros(len(entries)), self.config
        if config.ngram_weight:
            bonus = config.ngram_weight * self.ngrams.cosines([query])[0, entries]
            order = np.argsort(-(cosines + bonus), kind="stable")
            squared_l2, entries, cosines, bonus = squared_l2[order], entries[order], cosines[order], bonus[order]
        if config.scale is None:
            confidence = float(cosines.max())
            return Ranking(entries, squared_l2, cosines + bonus, confidence, Outcome.ANSWER, Reason.UNCALIBRATED)
        if not has_words(query):  # "???" has a vector too, often close to an entry
            scores = np.zeros(len(entries))
            return Ranking(entries, squared_l2, scores, 0.0, Outcome.DECLINE, Reason.NO_WORDS)
        p = probabilities(cosines[None], config.scale, config.null_cosine, bonus[None])[0]
        in_scope = float(1 - p[-1])
        answer_from = config.answer_from if len(entries) > 1 else 0.0  # with one entry there is nothing to choose from
        outcome, reason = decide(in_scope, p[0], config.decline_below, answer_from)
        choices = 3 if len(entries) > 2 and p[2] >= THIRD_CHOICE * p[:3].sum() else 2
        return Ranking(entries, squared_l2, p[:-1], in_scope, outcome, reason, min(choices, len(entries)))
