"""Sentences to unit vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm.auto import tqdm

from faqlab.cache import load_or_build, sha256
from faqlab.reference import ReferenceEncoder, Weights, find_weights
from faqlab.text import replace_surrogates

SERVING_FILES = ("model.onnx", "tokenizer.json")
BATCH = 32
EXPORT_VERSION = 3  # increase it when `faqlab.onnx_export` changes what it makes from the same weights


class Encoder(Protocol):
    """What retrieval needs of an encoder."""

    name: str
    fingerprint: str  # changes whenever the vectors may
    dimension: int

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """Return unit vectors, float32, shape (texts, dimension). Text beyond the encoder's limit is cut off."""


def load_encoder(name: str, cache_dir: Path) -> Encoder:
    """
    Return the encoder *name*: a model in `reference.SERVED`, the folder of an adapter to one, or any other model.

    The first two are exported into *cache_dir* and run on ONNX Runtime; sentence-transformers loads any other.
    FaqlabError if there is no such encoder, or its files are damaged.
    """
    weights = find_weights(name)
    return ServingEncoder(weights, cache_dir) if weights else ReferenceEncoder(name)


class ServingEncoder:
    """The weights on ONNX Runtime in fp32: the same vectors as the reference, faster and without torch."""

    def __init__(self, weights: Weights, cache_dir: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        model, tokenizer = serving_files(weights, cache_dir)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # done at export
        options.add_session_config_entry("session.force_spinning_stop", "1")  # spinning threads starve STT and TTS
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self.name, self.fingerprint = weights.name, weights.fingerprint
        one = np.ones((1, 1), np.int64)
        self.dimension = self._session.run(None, {"input_ids": one, "attention_mask": one})[0].shape[1]
        # A turn of a conversation needs the vectors of the same texts several times, and so does tuning.
        self._encode_once = lru_cache(maxsize=16)(self._encode)

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        return self._encode_once(tuple(texts), progress).copy()

    def _encode(self, texts: Sequence[str], progress: bool) -> np.ndarray:
        tokens = self._tokenizer.encode_batch([*map(replace_surrogates, texts)])
        by_length = sorted(range(len(texts)), key=lambda i: len(tokens[i].ids))  # so that a batch needs little padding
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in tqdm(range(0, len(texts), BATCH), desc="Embedding", unit="batch", disable=not progress):
            rows = by_length[start : start + BATCH]
            lengths = np.array([len(tokens[row].ids) for row in rows])
            mask = np.arange(lengths.max()) < lengths[:, None]
            ids = np.zeros(mask.shape, np.int64)
            ids[mask] = np.concatenate([tokens[row].ids for row in rows])
            [vectors[rows]] = self._session.run(None, {"input_ids": ids, "attention_mask": mask.astype(np.int64)})
        return vectors


def serving_files(weights: Weights, cache_dir: Path) -> list[bytes]:
    """Return the content of `SERVING_FILES`, from the cache or by exporting them (this imports torch)."""
    import onnxruntime

    def build() -> Mapping[str, bytes]:
        from faqlab.onnx_export import export

        return dict(zip(SERVING_FILES, export(weights), strict=True))

    folder = cache_dir / f"serving-{sha256(weights.name.encode())[:10] if weights.adapter else weights.name.lower()}"
    made_from = {
        "encoder": weights.name,
        "weights": weights.fingerprint,
        "export": EXPORT_VERSION,
        "onnxruntime": onnxruntime.__version__,
    }
    exported = load_or_build(folder, SERVING_FILES, made_from, build, f"the ONNX model of {weights.name}")
    return [exported[file] for file in SERVING_FILES]
