"""Overlap of a query and an entry in character n-grams: it finds names, numbers and rare words, which vectors blur."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import log, sqrt

import numpy as np

from faqlab.text import clean_query

N = 4  # characters per n-gram


class NgramIndex:
    """
    Entries, each of one or more texts, as tf–idf vectors of their character n-grams, compared with queries by cosine.

    The weights are those of scikit-learn's `TfidfVectorizer(sublinear_tf=True)`, whose import takes longer than a
    look-up: (1 + ln tf) · (ln((1 + n) / (1 + df)) + 1), scaled to unit length. A query's other
    n-grams, which are in none of the texts, are ignored.
    """

    def __init__(self, entries: Sequence[Sequence[str]]) -> None:
        texts = [text for entry in entries for text in entry]
        self._starts = np.cumsum([0, *map(len, entries[:-1])])  # the first text of each entry
        self._texts, counts = len(texts), [_ngrams(text) for text in texts]
        frequency = Counter(gram for grams in counts for gram in grams)
        self._idf = {gram: log((1 + len(texts)) / (1 + n)) + 1 for gram, n in frequency.items()}
        postings = defaultdict(list)
        for text, grams in enumerate(counts):
            for gram, weight in self._weights(grams).items():
                postings[gram].append((text, weight))
        self._postings = {gram: [*map(np.array, zip(*pairs, strict=True))] for gram, pairs in postings.items()}

    def cosines(self, queries: Sequence[str]) -> np.ndarray:
        """Return the similarity, 0 to 1, of each query to each entry's nearest text: shape (queries, entries)."""
        cosines = np.zeros((len(queries), self._texts))
        for row, query in zip(cosines, queries, strict=True):
            for gram, weight in self._weights(_ngrams(clean_query(query))).items():
                texts, weights = self._postings[gram]
                row[texts] += weight * weights
        return np.maximum.reduceat(cosines, self._starts, axis=1)

    def _weights(self, counts: Counter[str]) -> dict[str, float]:
        weights = {gram: (1 + log(n)) * self._idf[gram] for gram, n in counts.items() if gram in self._idf}
        length = sqrt(sum(weight**2 for weight in weights.values()))
        return {gram: weight / length for gram, weight in weights.items()}


def _ngrams(text: str) -> Counter[str]:
    text = re.sub(r"(\W{30})\W+", r"\1", text.lower())  # NFC's time is quadratic in a run of combining marks
    words = " ".join(["", *re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text)), ""])
    return Counter(words[start : start + N] for start in range(len(words) - N + 1))
