"""The second encoder's weights: fetched whole and checked, or a sentence that says why not."""

from __future__ import annotations

import hashlib
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
    bge.main(tmp_path)


def test_the_weights_of_the_graph_get_their_names_back() -> None:
    words, query = (np.arange(n, dtype=np.float32).reshape(-1, 3) for n in (6, 9))
    tensors = [("embeddings.word_embeddings.weight", words), ("onnx::MatMul_7", query), ("other", words)]
    node = helper.make_node(
        "MatMul", ["x", "onnx::MatMul_7"], ["y"], name="/encoder/layer.0/attention/self/query/MatMul"
    )
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([node], "bert", [value], [value], [numpy_helper.from_array(of, n) for n, of in tensors])
    weights = bge.weights_of(helper.make_model(graph))
    assert sorted(weights) == ["embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"]
    np.testing.assert_array_equal(weights["encoder.layer.0.attention.self.query.weight"], query.T)


def test_the_same_weights_make_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertConfig, BertModel, BertTokenizerFast

    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    monkeypatch.setattr(bge, "SHAPE", {**shape, "vocab_size": 5})
    state = BertModel(BertConfig(**bge.SHAPE), add_pooling_layer=False).state_dict()
    weights = {name: tensor.numpy() for name, tensor in state.items()}
    words = {f"[{name}]": n for n, name in enumerate(("UNK", "PAD", "CLS", "SEP", "MASK"))}
    tokenizer = BertTokenizerFast(vocab=words).backend_tokenizer.to_str().encode()
    for name in ("first", "second"):
        bge.save(weights, tokenizer, tmp_path / name)
    first, second = (
        hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).digest() for name in ("first", "second")
    )
    assert first == second
    assert {file.name for file in tmp_path.iterdir()} == {"first", "second"}  # no scratch
