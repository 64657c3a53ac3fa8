"""`make models`: export the encoders of baseline and configuration for ONNX Runtime, unless they are cached."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from tokenizers import Tokenizer

from faqlab.cache import Files, load_or_build
from faqlab.config import BASELINE, RetrievalConfig
from faqlab.encoder import BGE_FOLDER, SERVING_FILES, ReferenceEncoder, Weights, find_weights, serving_cache
from faqlab.errors import FaqlabError
from faqlab.settings import RETRIEVAL, settings


def main(*encoders: str) -> None:
    """Export *encoders* or, if none is named, these; a model that sentence-transformers serves isn't exported."""
    configs = [BASELINE, *map(RetrievalConfig.load, (RETRIEVAL, settings().retrieval))]  # notebook 3 begins with ours
    named = dict.fromkeys(name for config in configs for name in (config.encoder, config.second_encoder) if name)
    for encoder in encoders or named:
        if weights := find_weights(encoder):
            cached = serving_cache(weights, settings().cache_dir)
            load_or_build(*cached, partial(export, weights), f"the ONNX model of {weights.name}")


def export(weights: Weights) -> Files:
    """Return the files of transformer, pooling and normalisation as one optimised graph, and of its tokenizer."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_by_onnxruntime, optimize_model

    model: Any = ReferenceEncoder(weights.name).model
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, fused, optimised = (f"{folder}/{name}.onnx" for name in ("plain", "fused", "optimised"))
        _trace(model, plain)
        fusion = FusionOptions("bert")
        fusion.enable_embed_layer_norm = False  # it needs the token types as an input
        shape = model[0].auto_model.config.num_attention_heads, model[0].auto_model.config.hidden_size
        optimize_model(plain, "bert", *shape, fusion, opt_level=0).save_model_to_file(fused)
        onnxruntime.set_default_logger_severity(3)  # otherwise it warns that the graph is for this kind of processor
        graph = Path(optimize_by_onnxruntime(fused, optimized_model_path=optimised)).read_bytes()
        if weights.folder == BGE_FOLDER:
            graph = _in_eight_bits(graph)
    tokenizer = Tokenizer.from_file(str(weights.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.max_seq_length)
    return dict(zip(SERVING_FILES, (graph, tokenizer.to_str().encode()), strict=True))


def _in_eight_bits(graph: bytes) -> bytes:
    """
    Return *graph* with matrix products in 8 bits: the model loads faster and a query takes three quarters of the time.

    Weights and inputs are scaled in blocks of 32, so a text has the same vector alone and in a batch.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger(MatMulNBitsQuantizer.__module__).setLevel(logging.WARNING)  # else a line for each node
    quantizer = MatMulNBitsQuantizer(
        onnx.load_from_string(graph), bits=8, block_size=32, is_symmetric=True, accuracy_level=4
    )
    quantizer.process()
    return bytes(quantizer.model.model.SerializeToString())


def _trace(model: Any, path: str) -> None:
    """Write *model* to *path* as a graph from token ids and attention mask to unit vectors."""
    import torch

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
            vectors = self.model({**inputs, "token_type_ids": torch.zeros_like(input_ids)})["sentence_embedding"]
            return torch.nn.functional.normalize(vectors, dim=1)

    model[0].auto_model.set_attn_implementation("eager")  # the pattern that the optimiser fuses
    example, axes = torch.ones(2, 8, dtype=torch.long), {0: "batch", 1: "tokens"}
    torch.onnx.export(
        Sentence().eval(),
        (example, example),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["vectors"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "vectors": {0: "batch"}},
        opset_version=17,
        dynamo=False,  # the newer exporter takes longer and writes two files for the same graph
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FaqlabError as error:
        sys.exit(f"faqlab: {error}")
