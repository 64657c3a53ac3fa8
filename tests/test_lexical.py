"""Queries and entries compared letter by letter."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import WriteFaqs
from sklearn.feature_extraction.text import TfidfVectorizer

from faqlab.encoder import Encoder
from faqlab.faqs import FaqSet
from faqlab.lexical import NgramIndex
from faqlab.retriever import RetrievalConfig, Retriever, questions


def _ngrams(text: str) -> list[str]:
    words = " ".join(re.findall(r"[^\W_]+", text.lower()))
    return [f" {words} "[i : i + 4] for i in range(len(words) - 1)]


def test_the_similarity_is_that_of_scikit_learn(retriever: Retriever) -> None:
    texts = [f"{faq.question} {faq.answer}" for faq in retriever.faqs]
    queries = ["Where's my PARCEL??", "retrun a gift-card, order #20931", "éclair", "the the the the", "zzzzqqqq"]
    weigh = TfidfVectorizer(analyzer=_ngrams, sublinear_tf=True).fit(texts)
    expected = (weigh.transform(queries) @ weigh.transform(texts).T).toarray()
    assert expected[:2].max() > 0.1
    np.testing.assert_allclose(NgramIndex(texts).cosines(queries), expected, atol=1e-6)


def test_composed_and_decomposed_letters_are_the_same() -> None:
    np.testing.assert_allclose(NgramIndex(["cafe\u0301 cre\u0300me"]).cosines(["caf\u00e9 cr\u00e8me"]), 1, atol=1e-6)


def test_a_text_is_like_itself_and_like_its_misspelling_and_not_like_another() -> None:
    index = NgramIndex(["Do you ship abroad?", "How do I redeem a voucher?"])
    np.testing.assert_allclose(index.cosines(["how do i redeem a VOUCHER"])[0, 1], 1, atol=1e-6)
    other, own = index.cosines(["how to redem my vuocher"])[0]
    assert own > 0.4
    assert other < 0.1


@pytest.mark.parametrize(
    ("text", "like_itself"),
    [("", 0), ("?", 0), ("a", 0), ("\x00\x07", 0), ("\ud800", 0), ("😀", 0), ("ab", 1), ("配送はどこですか", 1)],
)
def test_odd_texts_are_like_nothing_or_like_themselves(text: str, like_itself: int) -> None:
    assert not NgramIndex(["Where is my parcel?"]).cosines([text]).any()
    own = NgramIndex([text, "Where is my parcel?"]).cosines([text])
    assert own.tolist() == [[pytest.approx(like_itself), 0]]


@pytest.fixture
def furniture(write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path) -> Retriever:
    """Two entries whose names, by which they are asked for, stand in their answers."""
    entries = [
        ("How do I assemble it?", "Page 2 has the Brimvik."),
        ("How do I build it?", "Page 9 has the Torsund."),
    ]
    faqs = FaqSet.load(write_faqs(entries))
    config = RetrievalConfig(scale=20.0, none=0.2, lexical=0.6)
    return Retriever.build(faqs, config, encoder=encoder, cache_dir=cache_dir)


QUERY = "setting up a brimvick"


def test_no_queries_are_no_rows() -> None:
    assert NgramIndex(["Where is my parcel?", "How do I pay?"]).cosines([]).shape == (0, 2)


def test_letters_change_the_order_and_not_whether_there_is_an_answer(furniture: Retriever) -> None:
    answer, bare = furniture.answer(QUERY), furniture.with_config(lexical=0.0).answer(QUERY)
    assert [hit.faq.id for hit in answer.hits] == ["0", "1"]
    assert [hit.faq.id for hit in bare.hits] == ["1", "0"]
    assert answer.confidence == pytest.approx(bare.confidence)
    assert sum(hit.score for hit in answer.hits) == pytest.approx(answer.confidence)
    assert [hit.squared_l2 for hit in answer.hits] == [hit.squared_l2 for hit in reversed(bare.hits)]
    assert furniture.search(QUERY) == answer.hits
    assert furniture.rank([QUERY])[0].entries.tolist() == [0, 1]


def test_uncalibrated_letters_change_the_order_and_not_the_confidence(furniture: Retriever) -> None:
    letters = furniture.with_config(scale=None)
    answer, bare = letters.answer(QUERY), letters.with_config(lexical=0.0).answer(QUERY)
    assert [hit.faq.id for hit in answer.hits] == ["0", "1"]
    assert answer.confidence == bare.confidence == bare.hits[0].score
    assert answer.hits[0].score > answer.hits[1].score


def test_each_of_two_questions_has_letters_of_its_own(furniture: Retriever) -> None:
    both = "how do I set up a brimvick? and how do I set up a torsunt?"
    answer = furniture.answer(both)
    assert answer.answers == 2
    assert furniture.with_config(lexical=0.0).answer(both).answers == 1
    assert [hit.faq.id for hit in answer.hits] == ["0", "1"]
    for hit, question in zip(answer.hits, questions(both), strict=True):
        assert hit.score == pytest.approx(furniture.answer(question).hits[0].score)


def test_another_weight_counts_no_entry_anew(furniture: Retriever) -> None:
    furniture.answer("a bed")
    assert furniture.with_config(lexical=0.2).ngrams is furniture.ngrams
