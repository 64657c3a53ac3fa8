"""The committed files are as `data/README.md` says: enough of each kind, no duplicates, splits that don't leak."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import DATA
from sklearn.feature_extraction.text import CountVectorizer

from faqlab.faqs import FaqSet
from faqlab.queries import load_domains

OUT_OF_SCOPE = ("near_out_of_scope", "far_out_of_scope")
KINDS = ("everyday", "paraphrase", "keyword", "indirect", "typo", "spoken", "multi", *OUT_OF_SCOPE)
Domains = dict[str, tuple[FaqSet, pd.DataFrame]]


@pytest.fixture(scope="module")
def parts(ecommerce: FaqSet, queries: pd.DataFrame) -> dict[str, Domains]:
    """All committed FAQs with their queries by name, in the parts that they belong to."""
    training = {part: load_domains(DATA / "training" / part) for part in ("train", "validation", "final")}
    return {**training, "shop": {"ecommerce": (ecommerce, queries)}}


@pytest.fixture(scope="module")
def domains(parts: dict[str, Domains]) -> Domains:
    return {name: pair for part in parts.values() for name, pair in part.items()}


def jaccard(texts: list[str], others: list[str]) -> np.ndarray:
    """Return |A ∩ B| / |A ∪ B| of each text and each other, over the sets of their words' character 4-grams."""
    vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(4, 4), binary=True, dtype=np.int32)
    grams = vectorizer.fit_transform([*texts, *others])
    sizes = np.asarray(grams.sum(axis=1)).ravel()
    shared = (grams[: len(texts)] @ grams[len(texts) :].T).toarray()
    return np.asarray(shared / np.maximum(sizes[: len(texts), None] + sizes[None, len(texts) :] - shared, 1))


def near_duplicates(texts: list[str], others: list[str]) -> list[tuple[str, str]]:
    return [(texts[i], others[j]) for i, j in np.argwhere(jaccard(texts, others) > 0.6)]


def test_near_duplicates_are_found_by_the_jaccard_similarity_of_their_4_grams() -> None:
    first, second = "where is my parcel today", "where is my parcel now"
    assert jaccard([first], [second]) == pytest.approx(11 / 17)  # where 4, is 1, my 1, parcel 5; today 4, now 2
    assert near_duplicates([first], [second, "How do I pay?"]) == [(first, second)]


def test_the_shop_has_79_entries_with_ids_and_categories(ecommerce: FaqSet) -> None:
    assert len(ecommerce) == 79
    assert all(faq.category for faq in ecommerce)
    assert not any(faq.id.isdigit() for faq in ecommerce)


def test_the_shop_has_queries_of_all_kinds_most_of_them_everyday_and_few_stories(queries: pd.DataFrame) -> None:
    assert len(queries) >= 480
    kinds = queries["kind"].value_counts()
    assert set(kinds.index) == set(KINDS)
    assert kinds["everyday"] == kinds.max() >= 160
    assert kinds["indirect"] <= len(queries) / 8
    outside = queries[~queries["answerable"]]
    assert len(outside) >= 100
    assert (outside["kind"] == "near_out_of_scope").sum() * 2 >= len(outside)


def test_each_entry_of_the_shop_has_at_least_three_queries(ecommerce: FaqSet, queries: pd.DataFrame) -> None:
    counts = queries["relevant"].explode().value_counts()
    assert [faq_id for faq_id in ecommerce.ids if counts.get(faq_id, 0) < 3] == []


def test_the_two_splits_are_about_equal_in_every_kind_and_cover_most_entries(
    ecommerce: FaqSet, queries: pd.DataFrame
) -> None:
    counts = queries.groupby(["kind", "split"]).size().unstack()
    assert list(counts) == ["test", "tune"]
    assert (abs(counts["tune"] - counts["test"]) <= 2).all()
    for _, part in queries.groupby("split"):
        assert part["relevant"].explode().dropna().nunique() >= 0.9 * len(ecommerce)


def test_a_second_blind_labelling_mostly_agrees_with_the_first(queries: pd.DataFrame) -> None:
    second = pd.read_csv(DATA / "queries.second.csv", keep_default_na=False).set_index("id")["relevant"].str.split()
    first = queries.set_index("id").loc[second.index]
    assert set(first["kind"]) == set(KINDS)
    assert (first["relevant"].map(set) == second.map(set)).mean() > 0.95


@pytest.mark.parametrize("name", ["ecommerce", *(path.stem for path in DATA.glob("training/*/*.json"))])
def test_kinds_and_labels_agree_and_no_text_is_a_near_duplicate(name: str, domains: Domains) -> None:
    """Out-of-scope kinds have no label, all others one or more, `multi` two or more; queries differ from all texts."""
    faqs, queries = domains[name]
    assert set(queries["kind"]) <= set(KINDS)
    assert (queries["answerable"] != queries["kind"].isin(OUT_OF_SCOPE)).all()
    assert (queries.loc[queries["kind"] == "multi", "relevant"].map(len) >= 2).all()
    assert all(faq.category for faq in faqs)
    texts = queries["query"].tolist()
    similar = jaccard(texts, texts + [text for faq in faqs for text in (faq.question, *faq.alternatives)]) > 0.6
    assert similar.sum() == len(texts) and similar.diagonal().all()  # each is similar to itself alone


def test_no_domain_is_in_two_parts_and_no_query_either(parts: dict[str, Domains], domains: Domains) -> None:
    assert all(parts.values())
    assert len(domains) == sum(map(len, parts.values()))
    texts = {
        part: {" ".join(text.casefold().split()) for _, queries in of_part.values() for text in queries["query"]}
        for part, of_part in parts.items()
    }
    for first, second in itertools.combinations(texts, 2):
        assert texts[first] & texts[second] == set(), f"{first} and {second}"


def test_no_training_query_is_a_near_duplicate_of_one_that_measures(
    parts: dict[str, Domains], domains: Domains
) -> None:
    train = parts["train"]
    others = [query for name, (_, table) in domains.items() if name not in train for query in table["query"]]
    for _, queries in train.values():
        assert near_duplicates(queries["query"].tolist(), others) == []
