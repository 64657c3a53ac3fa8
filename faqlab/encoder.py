"""Sentences to unit vectors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm.auto import tqdm

from faqlab.cache import read_files, sha256
from faqlab.errors import shorten
from faqlab.reference import ReferenceEncoder, Weights, find_weights
from faqlab.text import replace_surrogates

SERVING_FILES = ("model.onnx", "tokenizer.json")
BATCH = 32
EXPORT_VERSION = 4  # increase it when `training.serving_models` makes something else of the same weights

log = logging.getLogger(__name__)


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

    The first two run on ONNX Runtime if `make build` has exported them to *cache_dir*; if not, they run on
    sentence-transformers like any other, which takes seconds to load. FaqlabError if there is no such encoder, or its
    weights are damaged.
    """
    if not (weights := find_weights(name)):
        return ReferenceEncoder(name)
    try:
        return _serve(weights, cache_dir)
    except LookupError as why:
        remedy = f"run `make build`, or `python -m training.serving_models {name}`"
        log.warning(shorten(f"{name} starts and answers slowly: {why}; {remedy}."))
        return ReferenceEncoder(name)


@lru_cache(maxsize=4)
def _serve(weights: Weights, cache_dir: Path) -> ServingEncoder:
    folder, names, made_from = serving_cache(weights, cache_dir)
    files, problem = read_files(folder, names, made_from)
    if not files:
        raise LookupError(problem or "it isn't exported")
    tokenizer = files[names[1]]
    del files  # ONNX Runtime needs half the memory if it reads the model itself
    return ServingEncoder(weights, folder / names[0], tokenizer)


class ServingEncoder:
    """The weights on ONNX Runtime in fp32: the same vectors as the reference, faster and without torch."""

    def __init__(self, weights: Weights, model: Path | bytes, tokenizer: bytes) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # done at export
        options.add_session_config_entry("session.force_spinning_stop", "1")  # spinning threads starve STT and TTS
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._tokenizer.enable_padding()
        self.name, self.fingerprint = weights.name, weights.fingerprint
        one = np.ones((1, 1), np.int64)
        self.dimension = self._session.run(None, {"input_ids": one, "attention_mask": one})[0].shape[1]
        # A turn of a conversation needs the vectors of the same texts several times, and so does tuning.
        self._encode_once = lru_cache(maxsize=16)(self._encode)

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        return self._encode_once(tuple(texts), progress).copy()

    def _encode(self, texts: Sequence[str], progress: bool) -> np.ndarray:
        texts = [*map(replace_surrogates, texts)]
        by_length = sorted(range(len(texts)), key=lambda n: len(texts[n]))  # so that a batch needs little padding
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in tqdm(range(0, len(texts), BATCH), desc="Embedding", unit="batch", disable=not progress):
            rows = by_length[start : start + BATCH]
            tokens = self._tokenizer.encode_batch([texts[row] for row in rows])
            inputs = {"input_ids": [t.ids for t in tokens], "attention_mask": [t.attention_mask for t in tokens]}
            [vectors[rows]] = self._session.run(None, {name: np.array(of) for name, of in inputs.items()})
        return vectors


def serving_cache(weights: Weights, cache_dir: Path) -> tuple[Path, Sequence[str], Mapping[str, object]]:
    """Return the exported model's folder and files, and what they must be made from: arguments for `faqlab.cache`."""
    import onnxruntime

    folder = f"serving-{sha256(weights.name.encode())[:10] if weights.adapter else weights.name.lower()}"
    made_from = {
        "encoder": weights.name,
        "weights": weights.fingerprint,
        "export": EXPORT_VERSION,
        "onnxruntime": onnxruntime.__version__,
    }
    return cache_dir / folder, SERVING_FILES, made_from
