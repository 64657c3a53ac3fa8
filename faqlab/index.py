"""The FAQ as vectors in FAISS, kept between runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import faiss
import numpy as np

from faqlab.cache import load_or_build, sha256, slug
from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet

log = logging.getLogger(__name__)

INDEX_FILE = "faiss_index.bin"
VIEWS = {
    "question": lambda faq: faq.question,
    "question_answer": lambda faq: f"{faq.question} {faq.answer}",
    "answer": lambda faq: faq.answer,
}
"""What of an entry can be embedded."""


def embed_faqs(entries: Sequence[Faq], encoder: Encoder, views: Sequence[str], *, progress: bool = False) -> np.ndarray:
    """
    Return one unit vector an entry, float32, shape (entries, dimension): the normalised mean over *views*.

    The mean keeps one vector an entry: q · mean(v) = mean(q · v), so this ranks as the mean of the views'
    cosines would, but for the length of the mean, at the price of one view.
    """
    mean = np.mean([encoder.encode([VIEWS[v](faq) for faq in entries], progress=progress) for v in views], axis=0)
    return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)


class VectorIndex:
    """The entries of one FAQ in a `faiss.IndexFlatL2`: exact search by squared L2 distance."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    @classmethod
    def open(
        cls,
        faqs: FaqSet,
        encoder: Encoder,
        views: Sequence[str],
        cache_dir: Path | None,
        *,
        progress: bool = False,
    ) -> VectorIndex:
        """
        Return the index of *faqs*: from *cache_dir* when what is kept there is whole and still true, else built.

        Each FAQ file, encoder and choice of views has a folder of its own in *cache_dir*. None: keep nothing.
        """

        def build() -> Mapping[str, bytes]:
            index = faiss.IndexFlatL2(encoder.dimension)
            index.add(embed_faqs(faqs.entries, encoder, views, progress=progress or len(faqs) > 500))
            return {INDEX_FILE: faiss.serialize_index(index).tobytes()}

        if cache_dir is None:
            files = build()
        else:
            origin = str(faqs.path.resolve()) if faqs.path else faqs.sha256
            key = sha256("\n".join([origin, encoder.name, *views]).encode())[:10]
            made_from = {
                "faqs": faqs.sha256,
                "entries": len(faqs),
                "encoder": encoder.name,
                "weights": encoder.fingerprint,
                "views": list(views),
                "faiss": faiss.__version__,
            }
            name = faqs.path.stem if faqs.path else "faqs"
            files = load_or_build(cache_dir / f"{slug(name)}-{key}", made_from, build, f"the index of {len(faqs)} FAQs")
        return cls(faiss.deserialize_index(np.frombuffer(files[INDEX_FILE], np.uint8)))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def vectors(self) -> np.ndarray:
        """The entries' unit vectors, float32, shape (entries, dimension)."""
        return self._index.reconstruct_n(0, len(self))

    def search(self, vectors: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """
        Find the *top_k* entries nearest to each vector.

        Args:
            vectors: Unit vectors, float32, shape (queries, dimension).
            top_k: How many to return; more than there are entries returns all.

        Returns:
            Squared L2 distances, 0 to 4, ascending, and entry numbers: both (queries, top_k).

        Raises:
            FaqlabError: *top_k* is below 1.
            ValueError: the vectors have another width.
        """
        if top_k < 1:
            raise FaqlabError(f"top_k is {top_k}: ask for at least 1 answer.")
        if vectors.ndim != 2 or vectors.shape[1] != self._index.d:
            raise ValueError(f"expected vectors of shape (queries, {self._index.d}), got {vectors.shape}")
        distances, entries = self._index.search(np.ascontiguousarray(vectors, np.float32), min(top_k, len(self)))
        return np.clip(distances, 0.0, 4.0), entries
