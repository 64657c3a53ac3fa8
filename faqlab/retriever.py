"""A question in, the FAQ's nearest answers out, and the decision whether they answer it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np

from faqlab.cache import write_aside
from faqlab.encoder import MINILM, Encoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.index import VIEWS, VectorIndex
from faqlab.settings import settings


@dataclass(frozen=True)
class RetrievalConfig:
    """
    All that decides how a question is answered. The defaults are the baseline: the seed's configuration.

    Attributes:
        encoder: Name of the encoder.
        views: What of each entry is embedded: any of `question`, `question_answer`, `answer`.
        top_k: How many entries are handed to the model.
        max_squared_l2: The nearest entry must be at most this far, else the outcome is *decline*;
            squared L2, 0 to 4. None answers everything.
    """

    encoder: str = MINILM
    views: tuple[str, ...] = ("question",)
    top_k: int = 3
    max_squared_l2: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.top_k, int) or isinstance(self.top_k, bool) or self.top_k < 1:
            raise FaqlabError(f"top_k is {self.top_k!r}: expected a whole number from 1 up.")
        if not isinstance(self.encoder, str) or not self.encoder:
            raise FaqlabError(f"encoder is {self.encoder!r}: expected the name of one, such as {MINILM!r}.")
        if not isinstance(self.views, tuple):
            raise FaqlabError(f"views are {self.views!r}: expected a list of some of {list(VIEWS)}.")
        if not self.views or any(view not in list(VIEWS) for view in self.views):
            raise FaqlabError(f"views are {list(self.views)}: expected some of {list(VIEWS)}.")
        limit = self.max_squared_l2
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= 4):
            raise FaqlabError(f"max_squared_l2 is {limit!r}: expected a number from 0 to 4, or null.")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """
        Read a configuration; a file that is not there means the baseline.

        Raises:
            FaqlabError: the file is not JSON, or names or values are unknown; the message says which.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
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
        """Write the configuration as JSON, numbers rounded so that a rerun writes the same file."""
        data = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}
        write_aside(Path(path), (json.dumps(data, indent=2) + "\n").encode())


BASELINE = RetrievalConfig()
"""The configuration that everything is compared with: question vectors of MiniLM, the nearest three, no threshold."""


class Outcome(StrEnum):
    """What the assistant does with a question."""

    ANSWER = "answer"
    ASK_BACK = "ask_back"
    DECLINE = "decline"


@dataclass(frozen=True)
class Hit:
    """
    One entry found for a query.

    Attributes:
        rank: 1 is the best.
        faq: The entry.
        squared_l2: Its squared L2 distance from the query, 0 to 4.
        score: What the ranking goes by; higher is better. Cosine similarity, 1 − squared_l2 / 2.
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
        hits: The best `top_k` entries, best first.
        confidence: Higher is surer that the first hit is right.
        milliseconds: Time spent, by stage: `embed`, `search`.
        choices: For *ask_back*: two or three short names of the hits to choose from, in the hits' order.
    """

    query: str
    outcome: Outcome
    hits: tuple[Hit, ...]
    confidence: float
    milliseconds: dict[str, float]
    choices: tuple[str, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the assistant answers."""
        return self.outcome is Outcome.ANSWER


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
        return cls(faqs, encoder, index, config)

    def with_config(self, **changes: Any) -> Retriever:
        """Return a retriever that decides otherwise (top_k, thresholds) over the same vectors."""
        config = replace(self.config, **changes)
        if (config.encoder, config.views) != (self.config.encoder, self.config.views):
            raise ValueError("another encoder or view needs Retriever.build")
        return type(self)(self.faqs, self.encoder, self.index, config)

    @property
    def threshold(self) -> float | None:
        """The confidence below which nothing is answered; None if everything is."""
        limit = self.config.max_squared_l2
        return None if limit is None else 1 - limit / 2

    def answer(self, query: str) -> Answer:
        """
        Look *query* up and decide.

        Raises:
            FaqlabError: the query holds nothing to look up.
        """
        start = time.perf_counter()
        vectors = self.embed([query])
        embedded = time.perf_counter()
        hits = self._hits(vectors, self.config.top_k)
        found = time.perf_counter()
        milliseconds = {"embed": (embedded - start) * 1e3, "search": (found - embedded) * 1e3}
        return Answer(query, self.decide(hits[0].squared_l2), hits, hits[0].score, milliseconds)

    def search(self, query: str, top_k: int | None = None) -> tuple[Hit, ...]:
        """
        Return the *top_k* best entries for *query*, best first; all of them if there are fewer.

        Raises:
            FaqlabError: the query holds nothing to look up, or *top_k* is below 1.
        """
        return self._hits(self.embed([query]), self.config.top_k if top_k is None else top_k)

    def embed(self, queries: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """
        Return the queries' unit vectors, float32, shape (queries, dimension).

        Raises:
            FaqlabError: a query holds nothing but spaces and control characters.
        """
        for query in queries:
            if not any(c.isprintable() and not c.isspace() for c in query):
                raise FaqlabError("The query is empty: ask something in words.")
        return self.encoder.encode(queries, progress=progress)

    def decide(self, squared_l2: float) -> Outcome:
        """Return what to do with a query whose best entry is *squared_l2* away."""
        limit = self.config.max_squared_l2
        return Outcome.ANSWER if limit is None or squared_l2 <= limit else Outcome.DECLINE

    def _hits(self, vectors: np.ndarray, top_k: int) -> tuple[Hit, ...]:
        distances, entries = self.index.search(vectors, top_k)
        return tuple(
            Hit(rank, self.faqs.entries[entry], float(distance), 1 - float(distance) / 2)
            for rank, (distance, entry) in enumerate(zip(distances[0], entries[0], strict=True), start=1)
        )


def format_context(hits: Sequence[Hit]) -> str:
    """Return the hits as a language model reads them: blocks of `Q: …` and `A: …`, parted by a blank line."""
    return "\n\n".join(f"Q: {hit.faq.question}\nA: {hit.faq.answer}" for hit in hits)
