"""The index is exact, in squared L2, and taken from its cache only when that is whole and still true."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from conftest import SMALL, CountingEncoder, WriteFaqs

from faqlab.encoder import MINILM_SHA256, Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.index import INDEX_FILE, VectorIndex, embed_faqs
from faqlab.retriever import Retriever

QUESTIONS = [question for question, _ in SMALL]
VIEWS = ("question",)


@pytest.fixture
def faqs(write_faqs: WriteFaqs) -> FaqSet:
    return FaqSet.load(write_faqs())


@pytest.fixture
def folder(faqs: FaqSet, counting: CountingEncoder, tmp_path: Path) -> Path:
    """The folder of an index that was built a moment ago."""
    VectorIndex.open(faqs, counting, VIEWS, tmp_path / "cache")
    counting.texts.clear()
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    return folder


def assert_right(index: VectorIndex, faqs: FaqSet, encoder: Encoder) -> None:
    expected = encoder.encode([faq.question for faq in faqs])
    np.testing.assert_allclose(index.vectors, expected, atol=1e-6)
    distances, entries = index.search(expected, 1)
    assert entries[:, 0].tolist() == list(range(len(faqs)))
    np.testing.assert_allclose(distances, 0, atol=1e-6)


def reopen(faqs: FaqSet, encoder: CountingEncoder, folder: Path, views: Sequence[str] = VIEWS) -> VectorIndex:
    """Open the index again; it is right, and kept whole for the time after."""
    index = VectorIndex.open(faqs, encoder, views, folder.parent)
    asked = list(encoder.texts)
    if views == VIEWS:
        assert_right(index, faqs, encoder.inner)
    VectorIndex.open(faqs, encoder, views, folder.parent)
    assert encoder.texts == asked
    return index


def test_the_first_build_embeds_every_entry_once_and_keeps_a_faiss_file(
    faqs: FaqSet, counting: CountingEncoder, tmp_path: Path
) -> None:
    index = VectorIndex.open(faqs, counting, VIEWS, tmp_path)
    assert counting.texts == QUESTIONS
    assert_right(index, faqs, counting.inner)
    (file,) = tmp_path.glob("mine-*/faiss_index.bin")
    assert faiss.read_index(str(file)).ntotal == len(faqs)


def test_a_cached_start_asks_the_encoder_nothing_and_gives_the_same(
    faqs: FaqSet, counting: CountingEncoder, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = reopen(faqs, counting, folder)
    assert counting.texts == []
    assert caplog.text == ""
    np.testing.assert_array_equal(index.vectors, VectorIndex.open(faqs, counting, VIEWS, None).vectors)


@pytest.mark.parametrize("changed", ["question", "answer", "one more entry", "one fewer", "order"])
def test_a_changed_faq_is_embedded_anew_and_the_log_says_so(
    changed: str, write_faqs: WriteFaqs, counting: CountingEncoder, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = {
        "question": [*SMALL[:-1], ("Do you deliver to Norway?", SMALL[-1][1])],
        "answer": [*SMALL[:-1], (SMALL[-1][0], "No.")],
        "one more entry": [*SMALL, ("Is there a shop?", "Yes.")],
        "one fewer": SMALL[:-1],
        "order": SMALL[::-1],
    }[changed]
    faqs = FaqSet.load(write_faqs(pairs))
    reopen(faqs, counting, folder)
    assert counting.texts == [question for question, _ in pairs]
    assert "out of date" in caplog.text
    assert "faqs" in caplog.text


def test_a_changed_model_embeds_anew(
    faqs: FaqSet, counting: CountingEncoder, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reopen(faqs, replace(counting, fingerprint="b" * 64, texts=counting.texts), folder)
    assert counting.texts == QUESTIONS
    assert "out of date (weights)" in caplog.text


def test_another_model_another_view_and_another_file_have_folders_of_their_own(
    faqs: FaqSet, counting: CountingEncoder, folder: Path, write_faqs: WriteFaqs
) -> None:
    reopen(faqs, replace(counting, name="another", texts=[]), folder)
    reopen(faqs, replace(counting, texts=[]), folder, ("question", "answer"))
    reopen(FaqSet.load(write_faqs(SMALL[::-1], "elsewhere/mine.json")), replace(counting, texts=[]), folder)
    assert len(list(folder.parent.glob("mine-*"))) == 4
    reopen(faqs, counting, folder)  # and the first is not harmed
    assert counting.texts == []


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_a_truncated_index_is_rebuilt(faqs: FaqSet, counting: CountingEncoder, folder: Path, kept: int) -> None:
    file = folder / INDEX_FILE
    file.write_bytes(file.read_bytes()[:kept])
    reopen(faqs, counting, folder)
    assert counting.texts == QUESTIONS


@pytest.mark.parametrize("place", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.9999])
def test_an_index_with_a_flipped_bit_is_rebuilt_and_the_log_says_so(
    faqs: FaqSet, counting: CountingEncoder, folder: Path, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / INDEX_FILE
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 1
    file.write_bytes(data)
    reopen(faqs, counting, folder)
    assert counting.texts == QUESTIONS
    assert "faiss_index.bin is damaged" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("name", [INDEX_FILE, "manifest.json"])
def test_a_missing_file_is_rebuilt(faqs: FaqSet, counting: CountingEncoder, folder: Path, name: str) -> None:
    (folder / name).unlink()
    reopen(faqs, counting, folder)
    assert counting.texts == QUESTIONS


def test_another_faqs_index_in_its_place_is_rebuilt(
    faqs: FaqSet, counting: CountingEncoder, folder: Path, write_faqs: WriteFaqs
) -> None:
    other = FaqSet.load(write_faqs([("Is there a shop?", "Yes."), *SMALL[1:]], "other.json"))
    VectorIndex.open(other, replace(counting, texts=[]), VIEWS, folder.parent)
    (others,) = folder.parent.glob("other-*")
    shutil.copytree(others, folder, dirs_exist_ok=True)
    reopen(faqs, counting, folder)
    assert counting.texts == QUESTIONS


def test_a_cache_that_cannot_be_written_costs_the_cache_and_nothing_else(
    faqs: FaqSet, counting: CountingEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_bytes(b"in its place")
    assert_right(VectorIndex.open(faqs, counting, VIEWS, tmp_path / "cache"), faqs, counting.inner)
    assert "made anew at each start" in caplog.text


PROCESS = """
import json, sys
from pathlib import Path
from faqlab import cache
from faqlab.encoder import MINILM, load_encoder
from faqlab.faqs import FaqSet
from faqlab.index import VectorIndex
cache_dir = Path(sys.argv[1])
encoder = load_encoder(MINILM, cache_dir)
encode, texts = encoder.encode, []
encoder.encode = lambda batch, **options: texts.extend(batch) or encode(batch, **options)
index = VectorIndex.open(FaqSet.load(sys.argv[2]), encoder, ("question",), cache_dir)
print(json.dumps({"embedded": len(texts), "vectors": cache.sha256(index.vectors.tobytes())}))
"""


def test_two_processes_that_build_at_once_get_the_same_index_and_leave_a_whole_one(
    faqs: FaqSet, counting: CountingEncoder, cache_dir: Path
) -> None:
    command = [sys.executable, "-c", PROCESS, str(cache_dir), str(faqs.path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (json.loads(process.communicate(timeout=120)[0]) for process in processes)
    assert first["vectors"] == second["vectors"]
    assert sorted([first["embedded"], second["embedded"]]) == [0, len(faqs)]
    same_weights = replace(counting, fingerprint=MINILM_SHA256)
    assert_right(VectorIndex.open(faqs, same_weights, VIEWS, cache_dir), faqs, counting.inner)
    assert counting.texts == []


def test_an_entry_is_the_normalised_mean_of_its_views(faqs: FaqSet, encoder: Encoder) -> None:
    questions = encoder.encode([faq.question for faq in faqs])
    both = encoder.encode([f"{faq.question} {faq.answer}" for faq in faqs])
    answers = encoder.encode([faq.answer for faq in faqs])
    mean = (questions + both + answers) / 3
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    vectors = embed_faqs(faqs.entries, encoder, ("question", "question_answer", "answer"))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert vectors.dtype == np.float32


def test_distances_are_squared_l2_and_equal_2_minus_2_cos(retriever: Retriever) -> None:
    vectors = retriever.index.vectors
    distances, entries = retriever.index.search(vectors, len(vectors))
    cosines = np.take_along_axis(vectors @ vectors.T, entries, axis=1)
    np.testing.assert_allclose(distances, 2 - 2 * cosines, atol=1e-5)
    squares = ((vectors[:, None] - vectors[entries]) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances, squares, atol=1e-5)


def test_distances_run_from_0_to_4_and_ascend(retriever: Retriever) -> None:
    vectors = retriever.index.vectors
    distances, _ = retriever.index.search(np.vstack([vectors, -vectors]), len(vectors))
    assert distances.min() >= 0
    assert distances.max() <= 4
    assert distances.max() > 3.99999  # the opposite of a vector is as far as can be
    assert (np.diff(distances, axis=1) >= 0).all()


def test_every_question_finds_itself_at_distance_0(retriever: Retriever, encoder: Encoder) -> None:
    distances, entries = retriever.index.search(encoder.encode([faq.question for faq in retriever.faqs]), 1)
    assert entries[:, 0].tolist() == list(range(len(retriever.faqs)))
    np.testing.assert_allclose(distances, 0, atol=1e-5)


@pytest.mark.parametrize("top_k", [0, -1, -(10**6)])
def test_a_top_k_below_1_is_refused_in_a_sentence(retriever: Retriever, top_k: int) -> None:
    with pytest.raises(FaqlabError, match=rf"top_k is {top_k}: ask for at least 1 answer\."):
        retriever.index.search(retriever.index.vectors[:1], top_k)


def test_a_top_k_of_a_million_returns_every_entry_once(retriever: Retriever) -> None:
    _, entries = retriever.index.search(retriever.index.vectors[:2], 10**6)
    assert entries.shape == (2, len(retriever.faqs))
    assert sorted(entries[0]) == list(range(len(retriever.faqs)))


def test_vectors_of_another_width_are_refused(retriever: Retriever) -> None:
    for vectors in (np.zeros((1, 12), np.float32), np.zeros(384, np.float32)):
        with pytest.raises(ValueError, match=r"expected vectors of shape \(queries, 384\)"):
            retriever.index.search(vectors, 1)
