"""Small talk, which needs no look-up (greetings, thanks, "say that again"): recognised by similar phrasings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from faqlab.encoder import Encoder
from faqlab.index import VectorIndex
from faqlab.settings import PROJECT_ROOT
from faqlab.text import is_blank, read_text

PHRASINGS = PROJECT_ROOT / "data/small_talk.json"


@dataclass(frozen=True)
class SmallTalk:
    """
    Kernel ridge regression from sentence vectors to intents, fitted by `load`.

    The kernel is k(a, b) = exp(SHARPNESS · (a·b − 1)), the weights are W = (K + RIDGE · I)⁻¹ Y. In Y, a
    phrasing's row is 1 at its intent, or all 0 if it is a question. A text far from all phrasings scores near 0 for
    every intent, and counts as a question too.
    """

    encoder: Encoder
    intents: tuple[str, ...]
    vectors: np.ndarray  # the phrasings' unit vectors, shape (phrasings, dimension)
    targets: np.ndarray  # Y, shape (phrasings, intents)
    weights: np.ndarray  # W, shape (phrasings, intents)

    @classmethod
    def load(cls, encoder: Encoder, path: Path = PHRASINGS) -> Self:
        """Return the regression fitted to the phrasings in *path*; those under "question" only resemble small talk."""
        phrasings = json.loads(read_text(path, "restore it from the repository"))
        labels, texts = zip(*((intent, text) for intent in phrasings for text in phrasings[intent]), strict=True)
        intents = tuple(intent for intent in phrasings if intent != "question")
        vectors, targets = encoder.encode(texts), np.array([[a == b for b in intents] for a in labels], float)
        weights = np.linalg.solve(_kernel(vectors @ vectors.T) + RIDGE * np.eye(len(vectors)), targets)
        return cls(encoder, intents, vectors, targets, weights)

    def classify(self, text: str, entries: VectorIndex | None = None) -> str | None:
        """Return the intent of *text*; None if it must be looked up, as when it's close to one of *entries*."""
        if is_blank(text) or len(text.split()) > MOST_WORDS:
            return "unclear" if is_blank(text) else None
        vector = self.encoder.encode([text])
        cosines = self.vectors @ vector[0]
        scores = _kernel(cosines) @ self.weights
        nearest_entry = 1 - entries.search(vector, 1)[0].item() / 2 if entries else -1.0
        nearest_phrasing = cosines[self.targets.any(axis=1)].max()
        if scores.sum() < LEAST_SUM or scores.max() < LEAST_SCORE or nearest_phrasing < nearest_entry + MARGIN:
            return None
        return self.intents[scores.argmax()]


def _kernel(cosines: np.ndarray) -> np.ndarray:
    return np.exp(SHARPNESS * (cosines - 1))


SHARPNESS, RIDGE, LEAST_SUM, LEAST_SCORE = 6.0, 0.1, 0.45, 0.12
"""Chosen by leave-one-out over the phrasings, and on queries to many FAQs; also valid for the baseline's encoder."""
MARGIN = 0.1
"""By how much a phrasing's cosine must exceed that of the nearest entry of the FAQ."""
MOST_WORDS = 14
"""Longer texts are similar to many phrasings at once, so they are looked up."""
