"""Small talk, which needs no look-up (greetings, thanks, "say that again"), and follow-ups, by similar phrasings."""

import json
from dataclasses import dataclass
from typing import Self

import numpy as np

from faqlab.cache import Files, load_or_build, sha256
from faqlab.encoder import Encoder
from faqlab.index import VectorIndex
from faqlab.settings import PROJECT_ROOT, settings
from faqlab.text import clean_query, is_blank, read_text

PHRASINGS = PROJECT_ROOT / "data/small_talk.json"
VECTORS, WEIGHTS = "vectors.float32", "weights.float64"  # files in the cache


@dataclass(frozen=True)
class SmallTalk:
    """
    Kernel ridge regression from sentence vectors to intents, fitted by `load`.

    The kernel is k(a, b) = exp(SHARPNESS · (a·b − 1)), the weights are W = (K + RIDGE · I)⁻¹ Y. In Y, a
    phrasing's row is 1 at its intent, or all 0 if it is a question that stands alone. A text far from all phrasings
    scores near 0 for every intent, and counts as such a question too. The last column is "follow_up": questions that
    refer back to the last turn ("how much is that?").
    """

    encoder: Encoder
    intents: tuple[str, ...]  # those of small talk
    vectors: np.ndarray  # the phrasings' unit vectors, shape (phrasings, dimension)
    targets: np.ndarray  # Y, shape (phrasings, intents + 1)
    weights: np.ndarray  # W, shape (phrasings, intents + 1)

    @classmethod
    def load(cls, encoder: Encoder) -> Self:
        """Return the regression fitted to `PHRASINGS`; those under "question" only resemble the others."""
        phrasings = json.loads(read_text(PHRASINGS, "restore it from the repository"))
        pairs = ((intent, clean_query(text)) for intent in phrasings for text in phrasings[intent])
        labels, texts = zip(*pairs, strict=True)
        intents = tuple(intent for intent in phrasings if intent not in ("follow_up", "question"))
        targets = np.array([[label == intent for intent in (*intents, "follow_up")] for label in labels], float)

        def fit() -> Files:
            vectors = encoder.encode(texts)
            weights = np.linalg.solve(_kernel(vectors @ vectors.T) + RIDGE * np.eye(len(vectors)), targets)
            return {VECTORS: vectors.tobytes(), WEIGHTS: weights.tobytes()}

        made_from = {
            "phrasings": sha256(json.dumps(phrasings).encode()),
            "encoder": [encoder.name, encoder.fingerprint],
            "kernel": [SHARPNESS, RIDGE],
        }
        folder = settings().cache_dir / f"small_talk-{sha256(encoder.name.encode())[:10]}"
        files = load_or_build(folder, [VECTORS, WEIGHTS], made_from, fit, "the recognition of small talk")
        vectors = np.frombuffer(files[VECTORS], np.float32).reshape(len(texts), -1)
        return cls(encoder, intents, vectors, targets, np.frombuffer(files[WEIGHTS]).reshape(targets.shape))

    def classify(self, text: str, entries: VectorIndex | None = None, offered: bool = False) -> str | None:
        """Return the intent of *text*, preferably "choice" if some are *offered*; None if it must be looked up."""
        if is_blank(text) or len(text.split()) > MOST_WORDS:
            return "unclear" if is_blank(text) else None
        vector = self.encoder.encode([clean_query(text)])  # as a look-up does: the encoder keeps it
        cosines = self.vectors @ vector[0]
        scores = (_kernel(cosines) @ self.weights)[:-1]
        likely = self.intents[scores.argmax()]
        least = LEAST_SURE if likely == "language" or len(text.split()) == 1 else LEAST_SCORE
        nearest_entry = entries.nearest(vector).item() if entries else -1.0
        nearest_phrasing = cosines[self.targets[:, :-1].any(axis=1)].max()
        if scores.sum() < LEAST_SUM or scores.max() < least or nearest_phrasing < nearest_entry + MARGIN:
            return None
        choice = self.intents.index("choice")
        return "choice" if offered and 2 * scores[choice] > scores.max() else likely

    def refers_back(self, text: str) -> bool:
        """Return whether *text* is a question that only the last turn makes clear ("and if I lose it?")."""
        if is_blank(text) or len(text.split()) > MOST_WORDS:
            return False
        cosines = self.vectors @ self.encoder.encode([clean_query(text)])[0]
        return bool(_kernel(cosines) @ self.weights[:, -1] >= LEAST_FOLLOW_UP)


def _kernel(cosines: np.ndarray) -> np.ndarray:
    return np.exp(SHARPNESS * (cosines - 1))


SHARPNESS, RIDGE, LEAST_SUM, LEAST_SCORE, LEAST_FOLLOW_UP = 6.0, 0.1, 0.45, 0.12, 0.3
"""Chosen by leave-one-out over the phrasings, and on queries to many FAQs; also valid for the baseline's encoder."""
LEAST_SURE = 0.28  # of one word, which may be the topic of a question ("computer"), and of another language
MARGIN = 0.1  # by how much a phrasing's cosine must exceed that of the nearest entry of the FAQ
MOST_WORDS = 14  # longer texts are similar to many phrasings at once, so they are looked up
