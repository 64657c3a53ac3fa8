"""The FAQ as vectors in a FAISS index, kept between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import faiss
import numpy as np

from faqlab.cache import load_or_build, sha256
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet

INDEX_FILE = "faiss_index.bin"
VIEWS = {
    "question": lambda faq: faq.question,
    "question_answer": lambda faq: f"{faq.question} {faq.answer}",
    "answer": lambda faq: faq.answer,
}
"""Which text of an entry is embedded, by the name of the view."""


def make_index(dimension: int) -> faiss.Index:
    """Return an empty index of squared L2 distances. To use another type of FAISS index, change only this."""
    return faiss.IndexFlatL2(dimension)


def embed_faqs(entries: Sequence[Faq], encoder: Encoder, views: Sequence[str], *, progress: bool = False) -> np.ndarray:
    """
    Return the normalised mean over *views* for each entry: unit vectors, float32, shape (entries, dimension).

    Since q · mean(v) = mean(q · v), one vector per entry ranks like the mean of the views' cosines, except that it
    is scaled to length 1.
    """
    mean = np.mean([encoder.encode([VIEWS[v](faq) for faq in entries], progress=progress) for v in views], axis=0)
    return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)


class VectorIndex:
    """The entries of one FAQ in a FAISS index."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    @classmethod
    def open(
        cls, faqs: FaqSet, encoder: Encoder, views: Sequence[str], cache_dir: Path, *, progress: bool = False
    ) -> VectorIndex:
        """Return the index of *faqs*: from *cache_dir* if it is undamaged and up to date there, else a new one."""
        index = make_index(encoder.dimension)

        def build() -> Mapping[str, bytes]:
            index.add(embed_faqs(faqs.entries, encoder, views, progress=progress or len(faqs) > 500))
            return {INDEX_FILE: faiss.serialize_index(index).tobytes()}

        made_from = {
            "faqs": faqs.sha256,
            "encoder": encoder.name,
            "weights": encoder.fingerprint,
            "views": list(views),
            "index": type(index).__name__,
            "faiss": faiss.__version__,
        }
        # One folder for each combination of FAQ file, encoder and views.
        origin, stem = (str(faqs.path.resolve()), faqs.path.stem[:40]) if faqs.path else (faqs.sha256, "faqs")
        key = sha256("\n".join([origin, encoder.name, *views]).encode())[:10]
        what = f"the index of {len(faqs)} entries"
        files = load_or_build(cache_dir / f"{stem}-{key}", [INDEX_FILE], made_from, build, what)
        return cls(faiss.deserialize_index(np.frombuffer(files[INDEX_FILE], np.uint8)))

    @property
    def vectors(self) -> np.ndarray:
        """The entries' unit vectors, float32, shape (entries, dimension)."""
        return self._index.reconstruct_n(0, self._index.ntotal)

    def search(self, vectors: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the squared L2 distances, 0 to 4, ascending, and the positions of the *top_k* entries nearest to each.

        *vectors* are unit vectors, float32, shape (queries, dimension). Both results have the shape (queries, top_k);
        a *top_k* beyond the number of entries returns all.
        """
        top_k = min(top_k, self._index.ntotal)
        distances, entries = self._index.search(np.ascontiguousarray(vectors, np.float32), top_k)
        return np.clip(distances, 0.0, 4.0), entries
