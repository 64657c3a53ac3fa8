"""The overlap of queries and texts in character n-grams."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from faqlab.faqs import FaqSet
from faqlab.ngrams import NgramIndex


def ngrams(text: str) -> list[str]:
    words = " ".join(re.findall(r"[^\W_]+", text.lower()))
    return [f" {words} "[i : i + 4] for i in range(len(words) - 1)]


def test_the_similarity_is_that_of_scikit_learn(ecommerce: FaqSet) -> None:
    texts = [f"{faq.question} {faq.answer}" for faq in ecommerce]
    queries = ["Where's my PARCEL??", "retrun a gift-card, order #20931", "éclair", "the the the the", "zzzzqqqq"]
    vectorizer = TfidfVectorizer(analyzer=ngrams, sublinear_tf=True).fit(texts)
    expected = (vectorizer.transform(queries) @ vectorizer.transform(texts).T).toarray()
    assert expected[:2].max() > 0.1
    np.testing.assert_allclose(NgramIndex([[text] for text in texts]).cosines(queries), expected, atol=1e-6)
    assert NgramIndex([[text] for text in texts]).cosines([]).shape == (0, len(texts))


def test_composed_and_decomposed_letters_are_the_same() -> None:
    np.testing.assert_allclose(NgramIndex([["cafe\u0301 cre\u0300me"]]).cosines(["caf\u00e9 cr\u00e8me"]), 1, atol=1e-6)


def test_a_misspelling_is_similar_and_another_text_is_not() -> None:
    index = NgramIndex([["Do you ship abroad?"], ["How do I redeem a voucher?"]])
    np.testing.assert_allclose(index.cosines(["how do i redeem a VOUCHER"])[0, 1], 1, atol=1e-6)
    other, own = index.cosines(["how to redem my vuocher"])[0]
    assert own > 0.4 and other < 0.1


@pytest.mark.parametrize(
    ("text", "with_itself"),
    [("", 0), ("?", 0), ("a", 0), ("\x00\x07", 0), ("\ud800", 0), ("😀", 0), ("ab", 1), ("配送はどこですか", 1)],
)
def test_text_without_n_grams_is_similar_to_nothing(text: str, with_itself: int) -> None:
    assert not NgramIndex([["Where is my parcel?"]]).cosines([text]).any()
    assert NgramIndex([[text], ["Where is my parcel?"]]).cosines([text]).tolist() == [[pytest.approx(with_itself), 0]]


def test_of_several_texts_of_an_entry_the_nearest_counts() -> None:
    index = NgramIndex([["Do you ship abroad?"], ["How do I pay?", "Do you take cheques?"], ["Where are you?"]])
    np.testing.assert_allclose(index.cosines(["do you take cheques"])[0, 1], 1, atol=1e-6)


def test_a_run_of_combining_marks_takes_no_longer_than_its_length() -> None:
    """Sorting them, as NFC does, would take many minutes, and so run into pytest's timeout."""
    index = NgramIndex([["Where is my parcel?"]])
    assert index.cosines([f"where{500_000 * chr(0x300) + 500_000 * chr(0x316)} parcel"])[0, 0] > 0.5
