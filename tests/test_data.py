"""The committed files are what `data/README.md` says: enough of each kind, nothing twice, no split that leaks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import DATA
from sklearn.feature_extraction.text import CountVectorizer

from faqlab.faqs import FaqSet
from faqlab.queries import KINDS, OUT_OF_SCOPE, load_queries

TRADES = sorted(DATA.glob("training/*/*.json"))
PARTS = ("train", "validation", "final")
PAIRS = [(DATA / "ecommerce.json", DATA / "queries.csv"), *((path, path.with_suffix(".csv")) for path in TRADES)]


def read(pair: tuple[Path, Path]) -> tuple[FaqSet, pd.DataFrame]:
    faqs = FaqSet.load(pair[0])
    return faqs, load_queries(pair[1], faqs)


def likeness(texts: list[str], others: list[str]) -> np.ndarray:
    """Return the Jaccard similarity of each text to each other, |A ∩ B| / |A ∪ B| over their sets of 4-grams."""
    vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(4, 4), binary=True, dtype=np.int32)
    grams = vectorizer.fit_transform([*texts, *others])
    sizes = np.asarray(grams.sum(axis=1)).ravel()
    shared = (grams[: len(texts)] @ grams[len(texts) :].T).toarray()
    return np.asarray(shared / np.maximum(sizes[: len(texts), None] + sizes[None, len(texts) :] - shared, 1))


def near_duplicates(texts: list[str], limit: float = 0.6) -> list[tuple[int, int, float]]:
    """
    Return the pairs of *texts* that share too many of their lower-cased words' 4-grams: (first, second, Jaccard).
    """
    jaccard = likeness(texts, texts)
    first, second = np.nonzero(np.triu(jaccard > limit, k=1))
    return [(int(i), int(j), float(jaccard[i, j])) for i, j in zip(first, second, strict=True)]


def normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def test_near_duplicates_are_those_that_share_more_4_grams_than_the_limit() -> None:
    texts = ["Where is my parcel today", "where is my parcel, today?", "How do I pay by card"]
    assert [(i, j) for i, j, _ in near_duplicates(texts)] == [(0, 1)]


def test_near_duplicates_are_told_with_their_jaccard_similarity() -> None:
    # 4-grams of the words with a space each side: where 4, is 1, my 1, parcel 5, today 4; now 2.
    texts = ["where is my parcel today", "where is my parcel now"]
    assert near_duplicates(texts, limit=0.6) == [(0, 1, pytest.approx(11 / 17))]
    assert near_duplicates(texts, limit=0.65) == []


def test_the_committed_faq_has_79_entries_each_with_an_id_and_a_category_of_its_own(ecommerce: FaqSet) -> None:
    assert len(ecommerce) == 79
    assert all(faq.category for faq in ecommerce)
    assert not any(faq.id.isdigit() for faq in ecommerce)


def test_there_are_480_labelled_queries_or_more_in_each_kind_of_the_list(queries: pd.DataFrame) -> None:
    assert len(queries) >= 480
    assert set(queries["kind"]) == set(KINDS)


def test_each_faq_has_three_answerable_queries_or_more(ecommerce: FaqSet, queries: pd.DataFrame) -> None:
    counts = queries["relevant"].explode().value_counts()
    assert [faq_id for faq_id in ecommerce.ids if counts.get(faq_id, 0) < 3] == []


def test_100_queries_or_more_are_out_of_scope_and_half_of_them_near(queries: pd.DataFrame) -> None:
    outside = queries[~queries["answerable"]]
    assert len(outside) >= 100
    assert (outside["kind"] == "near_out_of_scope").sum() * 2 >= len(outside)


def test_the_two_splits_are_about_equal_in_every_kind(queries: pd.DataFrame) -> None:
    assert set(queries["split"]) == {"tune", "test"}
    counts = queries.groupby(["kind", "split"]).size().unstack()
    assert (abs(counts["tune"] - counts["test"]) <= 2).all()


def test_both_splits_ask_for_most_entries(ecommerce: FaqSet, queries: pd.DataFrame) -> None:
    for _, part in queries.groupby("split"):
        assert part["relevant"].explode().dropna().nunique() >= 0.9 * len(ecommerce)


def test_a_second_blind_labelling_of_every_kind_agrees_with_the_first(queries: pd.DataFrame) -> None:
    second = pd.read_csv(DATA / "queries.second.csv", keep_default_na=False).set_index("id")["relevant"].str.split()
    first = queries.set_index("id").loc[second.index]
    assert set(first["kind"]) == set(KINDS)
    assert np.mean(first["relevant"].map(set) == second.map(set)) == 1.0  # as data/README.md says


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[1].stem)
def test_each_pair_of_files_is_sound(pair: tuple[Path, Path]) -> None:
    """Kinds are known, out-of-scope kinds have no label and all others one (multi: two or more), no text is twice."""
    faqs, queries = read(pair)
    assert set(queries["kind"]) <= set(KINDS)
    assert (queries["answerable"] != queries["kind"].isin(OUT_OF_SCOPE)).all()
    assert (queries.loc[queries["kind"] == "multi", "relevant"].map(len) >= 2).all()
    assert all(faq.category for faq in faqs)
    assert len({normalised(query) for query in queries["query"]}) == len(queries)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[1].stem)
def test_no_two_queries_of_a_file_are_near_duplicates_whatever_their_splits(pair: tuple[Path, Path]) -> None:
    _, queries = read(pair)
    texts = queries["query"].tolist()
    assert [(texts[i], texts[j]) for i, j, _ in near_duplicates(texts)] == []


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[1].stem)
def test_no_query_is_a_near_duplicate_of_a_question_of_its_faq(pair: tuple[Path, Path]) -> None:
    faqs, queries = read(pair)
    texts = queries["query"].tolist() + [faq.question for faq in faqs]
    twins = [(texts[i], texts[j]) for i, j, _ in near_duplicates(texts) if i < len(queries) <= j]
    assert twins == []


def test_training_has_its_three_parts_and_no_trade_is_in_two_of_them() -> None:
    trades = {part: {path.stem for path in TRADES if path.parent.name == part} for part in PARTS}
    assert all(trades.values())
    assert sum(map(len, trades.values())) == len(TRADES) == len(set().union(*trades.values()))


def test_no_query_and_no_question_of_one_part_of_the_data_is_in_another() -> None:
    texts: dict[str, set[str]] = {}
    for pair in PAIRS:
        faqs, queries = read(pair)
        part = pair[0].parent.name
        texts.setdefault(part, set()).update(map(normalised, [*queries["query"], *(faq.question for faq in faqs)]))
    assert set(texts) == {"data", *PARTS}
    for first, second in itertools.combinations(texts, 2):
        assert texts[first] & texts[second] == set(), f"{first} and {second}"


def test_no_training_query_is_a_near_duplicate_of_one_to_judge_by() -> None:
    judges = [query for pair in PAIRS if pair[0].parent.name != "train" for query in read(pair)[1]["query"]]
    for pair in PAIRS:
        if pair[0].parent.name == "train":
            texts = read(pair)[1]["query"].tolist()
            near = np.argwhere(likeness(texts, judges) > 0.6)
            assert [(texts[i], judges[j]) for i, j in near] == [], pair[1]
