"""The serving encoder gives the reference's vectors for any text, and never imports torch."""

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
from conftest import DATA, MODEL_FOLDER, WriteFaqs

from faqlab.cache import Files, sha256
from faqlab.config import RetrievalConfig
from faqlab.encoder import (
    ADAPTER_FILES,
    MINILM,
    SERVED,
    ReferenceEncoder,
    ServingEncoder,
    Weights,
    find_weights,
    load_encoder,
)
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.index import VIEWS
from faqlab.settings import PROJECT_ROOT, Settings
from training import serving_models

CONFIG = RetrievalConfig.load(DATA / "retrieval.json")
ADAPTER = PROJECT_ROOT / CONFIG.encoder
ODD = {
    "empty": "",
    "spaces": " \t\n",
    "emoji": "📦❓ where is it 😡",
    "Chinese": "我的包裹在哪里？",
    "Arabic": "أين طردي؟",
    "control characters": "\x00where is\x07 my\x1b parcel",
    "half a character": "where is \ud83d my parcel",
    "combining marks": "o\u0301" * 50,
    "10,000 words": "parcel " * 10_000,
    "one word of 10,000 letters": "a" * 10_000,
    "the model's own marks": "[CLS] [SEP] [PAD] [MASK]",
}


@pytest.fixture(scope="module")
def serving() -> ServingEncoder:
    """The committed encoder as it answers queries."""
    encoder = load_encoder(CONFIG.encoder, MODEL_FOLDER.parent)
    assert isinstance(encoder, ServingEncoder)
    return encoder


@pytest.fixture(scope="module")
def reference() -> ReferenceEncoder:
    """The committed encoder in sentence-transformers."""
    return ReferenceEncoder(CONFIG.encoder)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


def test_serving_and_reference_agree_on_queries_and_entries(
    serving: ServingEncoder, reference: ReferenceEncoder, ecommerce: FaqSet, queries: pd.DataFrame
) -> None:
    """Each cosine is at least 0.99999, and each query has the same three nearest texts in the same order."""
    asked, entries = queries["query"].tolist()[::3], [VIEWS["question_answer"](faq)[0] for faq in ecommerce]
    vectors = [encoder.encode(asked + entries) for encoder in (serving, reference)]
    assert cosines(*vectors).min() >= 0.99999
    nearest = [np.argsort(-v[: len(asked)] @ v[len(asked) :].T, axis=1, kind="stable")[:, :3] for v in vectors]
    np.testing.assert_array_equal(*nearest)


def test_serving_and_reference_agree_on_odd_texts_and_cut_them_at_256_tokens(
    serving: ServingEncoder, reference: ReferenceEncoder
) -> None:
    vectors = [encoder.encode(list(ODD.values())) for encoder in (serving, reference)]
    assert dict(zip(ODD, cosines(*vectors) >= 0.99999, strict=True)) == dict.fromkeys(ODD, True)
    for one, v in zip((serving, reference), vectors, strict=True):
        assert (v.shape, v.dtype) == ((len(ODD), 384), np.float32)
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(one.encode([ODD["10,000 words"]]), one.encode(["parcel " * 254]), atol=1e-5)
        assert one.encode([]).shape == (0, 384)
        assert (one.name, one.dimension) == (CONFIG.encoder, 384)


def test_a_text_has_the_same_vector_alone_and_in_a_batch_and_nearly_the_reference_s(queries: pd.DataFrame) -> None:
    """bge's matrix products are in 8 bits, scaled in blocks of a token: other texts in a batch change nothing."""
    name = CONFIG.second_encoder or CONFIG.encoder
    encoder, asked = load_encoder(name, MODEL_FOLDER.parent), queries["query"].tolist()[:64]
    assert isinstance(encoder, ServingEncoder)
    together, alone = encoder.encode(asked), np.concatenate([encoder.encode([query]) for query in asked])
    assert cosines(together, alone).min() >= 0.99999
    assert cosines(together, ReferenceEncoder(name).encode(asked)).min() >= 0.999


def test_without_an_undamaged_export_an_encoder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    remedy = rf"run `make build`, or `python -m training\.serving_models {MINILM}`\.$"
    with pytest.raises(FaqlabError, match=rf"^{MINILM} isn't exported for ONNX Runtime; {remedy}"):
        load_encoder(MINILM, tmp_path)
    shutil.copytree(MODEL_FOLDER, tmp_path / MODEL_FOLDER.name)
    with (tmp_path / MODEL_FOLDER.name / "model.onnx").open("r+b") as file:
        file.seek(45_000_000)
        file.write(b"damage")
    with pytest.raises(FaqlabError, match=rf"ONNX Runtime: .* is damaged or out of date; {remedy}"):
        load_encoder(MINILM, tmp_path)


def test_an_encoder_is_exported_once_for_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[str] = []

    def export(weights: Weights) -> Files:
        exported.append(weights.name)
        return {"model.onnx": b"model", "tokenizer.json": b"tokenizer"}

    monkeypatch.setattr(serving_models, "export", export)
    monkeypatch.setattr(serving_models, "settings", lambda: Settings(cache_dir=tmp_path))
    serving_models.main()
    serving_models.main()
    expected = [MINILM, CONFIG.encoder, *filter(None, [CONFIG.second_encoder])]
    assert exported == expected
    monkeypatch.setitem(SERVED, MINILM, (SERVED[MINILM][0], "0" * 64))
    serving_models.main()
    assert exported[len(expected) :] == expected[:2]  # the second encoder has other weights


def test_one_row_makes_another_model_a_serving_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel

    shutil.copytree(SERVED[MINILM][0], tmp_path / "bert", ignore=shutil.ignore_patterns("*.safetensors", "*Pooling"))
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30_522, **shape)).save_pretrained(tmp_path / "bert")
    transformer = models.Transformer(str(tmp_path / "bert"), max_seq_length=16)
    folder = tmp_path / "tiny"
    SentenceTransformer(modules=[transformer, models.Pooling(32, pooling_mode="cls")], device="cpu").save(str(folder))
    unlisted = load_encoder(str(folder), tmp_path)
    assert isinstance(unlisted, ReferenceEncoder)

    monkeypatch.setitem(SERVED, "tiny", (folder, sha256((folder / "model.safetensors").read_bytes())))
    weights: Any = find_weights("tiny")
    tiny = ServingEncoder(weights, *serving_models.export(weights).values())
    assert tiny.dimension == 32
    texts = [*ODD.values(), "where is my parcel?"]
    assert cosines(tiny.encode(texts), unlisted.encode(texts)).min() >= 0.99999
    assert len({tiny.fingerprint, unlisted.fingerprint, find_weights(MINILM).fingerprint}) == 3  # type: ignore[union-attr]


def test_weights_with_another_sha256_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"others")
    monkeypatch.setitem(SERVED, MINILM, (tmp_path, SERVED[MINILM][1]))
    with pytest.raises(
        FaqlabError,
        match=r"model\.safetensors: missing, damaged or of another version \(SHA-256\); reinstall its package, or",
    ):
        ReferenceEncoder(MINILM)


def test_a_damaged_adapter_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ADAPTER, tmp_path / "mine")
    weights: Any = find_weights(str(tmp_path / "mine"))
    assert (weights.adapter, weights.fingerprint) == (tmp_path / "mine", find_weights(CONFIG.encoder).fingerprint)  # type: ignore[union-attr]
    for name in (ADAPTER_FILES[1], "manifest.json"):
        (tmp_path / "mine" / name).write_bytes(b"{}")
        with pytest.raises(
            FaqlabError, match=r"mine: the adapter can't be used \(.*\); restore it, or train a new one\."
        ):
            load_encoder(str(tmp_path / "mine"), tmp_path)


def test_an_unknown_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FaqlabError, match=r"^'.*/nothing' is no encoder's folder, and isn't on the Hugging Face hub \(.*\)\.$"
    ):
        load_encoder(str(tmp_path / "nothing"), tmp_path)


IMPORTED = """
import importlib, pkgutil, sys
import faqlab
from faqlab.cli import main
def run(*arguments):
    sys.argv = ["faqlab", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    print("IMPORTED", *sorted({name.split(".")[0] for name in sys.modules}))
faqs, queries = sys.argv[1:]
run("ask", "my parcel", "--faqs", faqs)
run("evaluate", "--faqs", faqs, "--queries", queries)
for module in pkgutil.iter_modules(faqlab.__path__):
    if module.name != "voice":
        importlib.import_module(f"faqlab.{module.name}")
run("--version")
"""


def test_only_what_a_command_needs_is_imported(write_faqs: WriteFaqs, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("query,relevant\nmy parcel,0\n")
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED, write_faqs(), tmp_path / "mine.csv"],
        env={**os.environ, "FAQLAB_CACHE_DIR": str(MODEL_FOLDER.parent)},
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
    )
    assert run.returncode == 0, run.stderr
    ask, evaluate, everything = (set(line.split()) for line in run.stdout.splitlines() if line.startswith("IMPORTED"))
    assert ask >= {"onnxruntime", "faiss"}
    assert ask & {"torch", "transformers", "pandas", "sklearn", "scipy", "matplotlib", "livekit"} == set()
    assert evaluate & {"torch", "transformers", "matplotlib", "livekit"} == set()
    assert everything & {"torch", "transformers", "livekit"} == set()


def test_a_text_that_comes_again_is_computed_once(serving: ServingEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = serving.encode(["where is my parcel"])
    kept = first.copy()
    first[:] = 0
    monkeypatch.setattr(serving, "_session", None)
    assert np.array_equal(serving.encode(["where is my parcel"]), kept)
