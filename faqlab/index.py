"""The FAQ as vectors in a FAISS index, kept between runs."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import faiss
import numpy as np

from faqlab.cache import load_or_build, sha256
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.text import clean_query, plain_text

INDEX_FILE = "faiss_index.bin"
VIEWS: Mapping[str, Callable[[Faq], list[str]]] = {
    "question": lambda faq: [faq.question],
    "phrasings": lambda faq: [faq.question, *faq.alternatives],
    "question_answer": lambda faq: [f"{faq.question} {piece}" for piece in pieces(plain_text(faq.answer))],
    "answer": lambda faq: pieces(plain_text(faq.answer)),
}
"""Which texts of an entry are embedded, by the name of the view."""

PIECE = 150  # words of an answer in one text: fewer than the encoder reads, which is 256 tokens

NEAREST = 0.3  # the weight of an entry's nearest view; the mean of its views has the rest

SHARPNESS = 25.0
"""τ in a view's similarity, (1/τ) · ln(mean of exp(τ · cosine) over its texts): near the maximum, but one of twenty
texts has to be nearer than one of two. Both numbers were chosen on `calibration.OTHERS` and on public sets."""


def pieces(answer: str) -> list[str]:
    """Return *answer* in pieces of at most `PIECE` words, which end with a sentence wherever one ends in reach."""
    texts: list[list[str]] = [[]]
    sentences = map(str.split, re.split(r"(?<=[.!?])\s+|\n+", answer))
    for words in (of[start : start + PIECE] for of in sentences for start in range(0, len(of), PIECE)):
        if len(texts[-1]) + len(words) > PIECE:
            texts.append([])
        texts[-1] += words
    return [" ".join(words) for words in texts]


def texts_by_view(faq: Faq, views: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return each of *views* and its texts: `phrasings` instead if the answer only repeats the question."""
    repeats = clean_query(faq.answer).casefold() == clean_query(faq.question).casefold()
    views = ["phrasings" if repeats and "answer" in view else view for view in views]
    return [(view, VIEWS[view](faq)) for view in views]


def make_index(dimension: int) -> faiss.Index:
    """Return an empty index of squared L2 distances. To use another type of FAISS index, change only this."""
    return faiss.IndexFlatL2(dimension)


class VectorIndex:
    """The entries of one FAQ in the index `faiss`, with one row per text."""

    def __init__(self, index: faiss.Index, views: Sequence[str], entries: list[list[tuple[str, list[str]]]]) -> None:
        self.faiss, self._views = index, tuple(views)
        self.texts = [[text for _, texts in entry for text in texts] for entry in entries]  # of each entry
        self._texts = np.array([len(texts) for entry in entries for _, texts in entry])
        self._starts = np.cumsum([0, *self._texts[:-1]])  # the first row of each view of each entry
        self._pieces = np.array(["answer" in view for entry in entries for view, _ in entry])

    @classmethod
    def open(cls, faqs: FaqSet, encoder: Encoder, views: Sequence[str], cache_dir: Path) -> Self:
        """Return the index of *faqs*: from *cache_dir* if it is undamaged and up to date there, else a new one."""
        index = make_index(encoder.dimension)
        entries = [texts_by_view(faq, views) for faq in faqs]
        texts = [text for entry in entries for _, of_view in entry for text in of_view]

        def build() -> Mapping[str, bytes]:
            index.add(encoder.encode(texts))
            return {INDEX_FILE: faiss.serialize_index(index).tobytes()}

        made_from = {
            "faqs": sha256(json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass")),
            "encoder": encoder.name,
            "weights": encoder.fingerprint,
            "views": list(views),
            "index": type(index).__name__,
            "faiss": faiss.__version__,
        }
        # One folder for each combination of FAQ file, encoder and views.
        origin, stem = (str(faqs.path.resolve()), faqs.path.stem[:40]) if faqs.path else (faqs.sha256, "faqs")
        key = sha256("\n".join([origin, encoder.name, *views]).encode("utf-8", "surrogateescape"))[:10]
        what = f"the index of {len(faqs)} entries"
        files = load_or_build(cache_dir / f"{stem}-{key}", [INDEX_FILE], made_from, build, what)
        return cls(faiss.deserialize_index(np.frombuffer(files[INDEX_FILE], np.uint8)), views, entries)

    @property
    def vectors(self) -> np.ndarray:
        """The texts' unit vectors, float32, shape (texts, dimension): by entry, then by view."""
        return self.faiss.reconstruct_n(0, self.faiss.ntotal)

    @cached_property
    def answers(self) -> np.ndarray:
        """The answers' unit vectors, shape (entries, dimension); 0 for one that isn't embedded, or is in pieces."""
        if "answer" not in self._views:
            return np.zeros((len(self.texts), self.faiss.d))
        view = slice(self._views.index("answer"), None, len(self._views))
        # Two answers in pieces that begin the same may still differ.
        return self.vectors[self._starts[view]] * (self._texts[view] == 1)[:, None]

    def similarities(self, vectors: np.ndarray) -> np.ndarray:
        """
        Return the similarity, −1 to 1, of each of *vectors* to each entry: shape (queries, entries).

        A view has the cosine of its nearest piece of the answer, or a soft maximum over phrasings (`SHARPNESS`). It is
        (1 − w) · mean + w · maximum of its views, w = `NEAREST`. *vectors*: unit vectors, shape (queries, dimension).
        """
        squared_l2, rows = self.faiss.search(np.ascontiguousarray(vectors, np.float32), self.faiss.ntotal)
        cosines, found = np.full(squared_l2.shape, -1.0), rows >= 0  # an approximate index may miss some
        cosines[np.nonzero(found)[0], rows[found]] = 1 - np.clip(squared_l2[found], 0.0, 4.0) / 2
        sums = np.add.reduceat(np.exp(SHARPNESS * cosines), self._starts, axis=1)
        soft, hard = np.log(sums / self._texts) / SHARPNESS, np.maximum.reduceat(cosines, self._starts, axis=1)
        by_view = np.where(self._pieces, hard, soft).reshape(len(vectors), len(self.texts), len(self._views))
        return (1 - NEAREST) * by_view.mean(axis=2) + NEAREST * by_view.max(axis=2)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """Return the highest cosine of each of *vectors* to any text, shape (queries,)."""
        return 1 - self.faiss.search(np.ascontiguousarray(vectors, np.float32), 1)[0][:, 0] / 2
