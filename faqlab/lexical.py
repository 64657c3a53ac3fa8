"""What a query and an entry have in common letter by letter: the names, numbers and rare words that vectors blur."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

N = 4
"""Characters in a row that count as one feature: enough to mean something, few enough to outlast a typing error."""


class NgramIndex:
    """
    Texts as tf–idf vectors of their character n-grams, to be compared with queries by cosine.

    The weights are those of scikit-learn's `TfidfVectorizer(sublinear_tf=True)`, whose import takes longer than all
    else that a look-up needs: (1 + ln tf) · (ln((1 + n) / (1 + df)) + 1), each text's vector of unit length. N-grams
    that are in no text are left out.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        grams, counts = zip(*(_ngrams(text) for text in texts), strict=True)
        entries = np.repeat(np.arange(len(texts)), [len(g) for g in grams])
        self._grams, gram_of = np.unique(np.concatenate(grams), return_inverse=True)
        frequency = np.bincount(gram_of, minlength=len(self._grams))
        self._idf = np.log((1 + len(texts)) / (1 + frequency)) + 1
        weights = (1 + np.log(np.concatenate(counts))) * self._idf[gram_of]
        weights /= np.sqrt(np.bincount(entries, weights**2, minlength=len(texts)))[entries]
        # The postings of one n-gram after those of another, so that a query touches only those of its own.
        order = np.argsort(gram_of, kind="stable")
        self._entries, self._weights = entries[order], weights[order].astype(np.float32)
        self._ends = np.cumsum(frequency)
        self._texts = len(texts)

    def cosines(self, queries: Sequence[str]) -> np.ndarray:
        """Return the similarity, 0 to 1, of each query to each text: shape (queries, texts)."""
        return np.array([self._cosines(query) for query in queries]).reshape(len(queries), self._texts)

    def _cosines(self, query: str) -> np.ndarray:
        grams, counts = _ngrams(query)
        rows = np.searchsorted(self._grams, grams)
        known = rows < len(self._grams)
        known[known] = self._grams[rows[known]] == grams[known]
        if not known.any():
            return np.zeros(self._texts)
        rows = rows[known]
        weights = (1 + np.log(counts[known])) * self._idf[rows]
        weights /= np.linalg.norm(weights)
        lengths = np.diff(self._ends, prepend=0)[rows]
        postings = np.arange(lengths.sum()) + np.repeat(self._ends[rows] - np.cumsum(lengths), lengths)
        products = np.repeat(weights, lengths) * self._weights[postings]
        return np.bincount(self._entries[postings], products, minlength=self._texts)


_WORD = re.compile(r"[^\W_]+")


def _ngrams(text: str) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the different n-grams of *text*, each as one number, and how often each stands in it.

    They run over its words with one space around each, so that beginnings and ends of words are features, too.
    """
    words = " ".join(_WORD.findall(unicodedata.normalize("NFC", text.lower())))
    units = np.frombuffer(f" {words} ".encode("utf-16-le"), np.uint16)
    windows = np.lib.stride_tricks.sliding_window_view(units, N) if len(units) >= N else np.empty((0, N), np.uint16)
    # Four units of UTF-16 are one number of 64 bits: for another N, another way to count.
    return np.unique(np.ascontiguousarray(windows).view(np.uint64).ravel(), return_counts=True)
