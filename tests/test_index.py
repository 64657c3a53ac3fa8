"""The index is exact, in squared L2, and read from the cache if that is undamaged and up to date."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from conftest import SMALL, CountingEncoder, WriteFaqs

from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.index import INDEX_FILE, NEAREST, PIECE, SHARPNESS, VectorIndex, pieces
from faqlab.retriever import Retriever
from faqlab.text import clean_query

QUESTIONS = [question for question, _ in SMALL]
VIEWS = ("question",)


@pytest.fixture
def faqs(write_faqs: WriteFaqs) -> FaqSet:
    return FaqSet.load(write_faqs())


@pytest.fixture
def folder(faqs: FaqSet, counting: CountingEncoder, tmp_path: Path) -> Path:
    """The folder of an index that has just been built."""
    VectorIndex.open(faqs, counting, VIEWS, tmp_path / "cache")
    assert counting.texts == QUESTIONS
    counting.texts.clear()
    (file,) = (tmp_path / "cache").glob(f"mine-*/{INDEX_FILE}")
    assert faiss.read_index(str(file)).ntotal == len(faqs)
    return file.parent


def assert_right(faqs: FaqSet, encoder: CountingEncoder, cache_dir: Path, embedded: int) -> None:
    """The index in *cache_dir* is right; *embedded* texts were encoded to open it, and none to open it again."""
    before = len(encoder.texts)
    for _ in range(2):
        index = VectorIndex.open(faqs, encoder, VIEWS, cache_dir)
        assert len(encoder.texts) - before == embedded
    expected = encoder.inner.encode([faq.question for faq in faqs])
    np.testing.assert_allclose(index.vectors, expected, atol=1e-6)
    distances, entries = index.faiss.search(expected, 1)
    assert entries[:, 0].tolist() == list(range(len(faqs)))
    np.testing.assert_allclose(distances, 0, atol=1e-6)


def test_a_cached_index_embeds_nothing_and_a_damaged_or_outdated_one_is_rebuilt(
    faqs: FaqSet,
    counting: CountingEncoder,
    folder: Path,
    write_faqs: WriteFaqs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert_right(faqs, counting, folder.parent, embedded=0)
    assert caplog.text == ""
    data = bytearray((folder / INDEX_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / INDEX_FILE).write_bytes(data)
    assert_right(faqs, counting, folder.parent, embedded=4)
    for pairs in (SMALL[::-1], [*SMALL, ("Is there a shop?", "Yes.")]):
        assert_right(FaqSet.load(write_faqs(pairs)), counting, folder.parent, embedded=len(pairs))
    counting.fingerprint = "b" * 64
    assert_right(FaqSet.load(write_faqs()), counting, folder.parent, embedded=4)
    monkeypatch.setattr("faqlab.index.make_index", lambda dimension: faiss.IndexHNSWFlat(dimension, 32))
    assert_right(faqs, counting, folder.parent, embedded=4)
    problems = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    assert problems == [f"{folder} is damaged or out of date."] * 5


def test_each_encoder_choice_of_views_and_file_has_its_folder(
    faqs: FaqSet, counting: CountingEncoder, folder: Path, write_faqs: WriteFaqs
) -> None:
    VectorIndex.open(faqs, replace(counting, name="another"), VIEWS, folder.parent)
    VectorIndex.open(faqs, counting, ("question", "answer"), folder.parent)
    other = FaqSet.load(write_faqs(SMALL[::-1], "elsewhere/mine.json"))
    VectorIndex.open(other, counting, VIEWS, folder.parent)
    assert len(list(folder.parent.glob("mine-*"))) == 4
    assert_right(faqs, counting, folder.parent, embedded=0)


def test_each_entry_is_cleaned_and_cut_into_pieces_once(
    faqs: FaqSet, counting: CountingEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[str] = []
    monkeypatch.setattr("faqlab.index.clean_query", lambda text: cleaned.append(text) or clean_query(text))
    VectorIndex.open(faqs, counting, ("phrasings", "question_answer", "answer"), tmp_path)
    assert sorted(cleaned) == sorted(text for pair in SMALL for text in pair)


def test_the_name_of_an_faq_file_need_not_be_utf_8(
    write_faqs: WriteFaqs, counting: CountingEncoder, tmp_path: Path
) -> None:
    faqs = FaqSet.load(write_faqs(name=os.fsdecode(b"caf\xe9.json")))
    assert_right(faqs, counting, tmp_path / "cache", embedded=4)


def test_a_similarity_is_made_of_the_mean_and_the_nearest_of_the_views(
    faqs: FaqSet, encoder: Encoder, tmp_path: Path
) -> None:
    query = encoder.encode(["can I send trainers back"])
    questions, answers = (query @ encoder.encode(list(texts)).T for texts in zip(*SMALL, strict=True))
    both = query @ encoder.encode([" ".join(pair) for pair in SMALL]).T
    views = np.stack([questions, both, answers])
    index = VectorIndex.open(faqs, encoder, ("question", "question_answer", "answer"), tmp_path)
    expected = (1 - NEAREST) * views.mean(axis=0) + NEAREST * views.max(axis=0)
    np.testing.assert_allclose(index.similarities(query), expected, atol=1e-5)
    np.testing.assert_allclose(index.answers, encoder.encode([answer for _, answer in SMALL]), atol=1e-5)


def test_the_nearer_phrasing_counts_most(encoder: Encoder, tmp_path: Path) -> None:
    faqs = FaqSet((Faq("a", "How do I pay?", "By card."), Faq("b", "Are you open?", "Yes.", "", ("opening hours",))))
    query = encoder.encode(["what are your hours"])
    plain, more = (
        VectorIndex.open(faqs, encoder, (v,), tmp_path).similarities(query) for v in ("question", "phrasings")
    )
    assert more[0, 0] == pytest.approx(plain[0, 0])
    cosines = query @ encoder.encode(["Are you open?", "opening hours"]).T
    assert more[0, 1] == pytest.approx(np.log(np.exp(SHARPNESS * cosines).mean()) / SHARPNESS, abs=1e-5)
    assert plain[0, 1] < cosines.max() - np.log(2) / SHARPNESS <= more[0, 1] < cosines.max()


def test_an_answer_that_only_repeats_the_question_is_not_embedded(encoder: Encoder, tmp_path: Path) -> None:
    views = ("phrasings", "question_answer", "answer")
    faqs = FaqSet((Faq("a", "How do I pay?", "how do I pay", "", ("payment",)), Faq("b", "Are you open?", "Yes.")))
    query = encoder.encode(["can I pay by cheque"])
    all_views = VectorIndex.open(faqs, encoder, views, tmp_path).similarities(query)[0, 0]
    assert all_views == pytest.approx(VectorIndex.open(faqs, encoder, views[:1], tmp_path).similarities(query)[0, 0])


def test_a_long_answer_is_embedded_in_pieces_so_that_its_end_is_found(encoder: Encoder, tmp_path: Path) -> None:
    long = "We wash every towel at sixty degrees. " * 500 + "A dog costs nine pounds a night."
    faqs = FaqSet((Faq("towels", "How do you wash towels?", long), Faq("cats", "Are cats welcome?", "Yes, for free.")))
    index = VectorIndex.open(faqs, encoder, ("answer",), tmp_path)
    assert index.similarities(encoder.encode(["how much is a dog per night"])).argmax() == 0


@pytest.mark.parametrize("answer", ["Short.", "A sentence of six words here. " * 70, "word " * 400, "one\ntwo\n" * 200])
def test_pieces_hold_all_words_in_order_and_none_is_longer_than_the_limit(answer: str) -> None:
    found = pieces(answer)
    assert " ".join(found).split() == answer.split()
    assert all(0 < len(piece.split()) <= PIECE for piece in found)


def test_similarities_are_cosines_and_faiss_returns_their_squared_l2_distances(retriever: Retriever) -> None:
    vectors = retriever.index.vectors
    queries = np.vstack([vectors, -vectors])
    distances, entries = retriever.index.faiss.search(queries, len(vectors))
    np.testing.assert_allclose(distances, 2 - 2 * np.take_along_axis(queries @ vectors.T, entries, axis=1), atol=1e-5)
    np.testing.assert_allclose(retriever.index.similarities(queries), queries @ vectors.T, atol=1e-5)
