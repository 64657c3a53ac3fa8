"""A question in, the best entries and a decision out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, CountingEncoder, WriteFaqs

from faqlab.config import RetrievalConfig
from faqlab.decision import Outcome, Reason
from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.retriever import SECOND_WEIGHT, Retriever

QUERY = "can I send shoes back?"


def test_hits_come_best_first_with_distance_and_score(retriever: Retriever) -> None:
    answer = retriever.answer(QUERY)
    vectors, query = retriever.index.vectors, retriever.encoder.encode(["can I send shoes back"])[0]
    best = np.argsort(((vectors - query) ** 2).sum(axis=1))[:3]
    assert [hit.faq for hit in answer.hits] == [retriever.faqs.entries[i] for i in best]
    for hit, entry in zip(answer.hits, best, strict=True):
        assert hit.squared_l2 == pytest.approx(((vectors[entry] - query) ** 2).sum(), abs=1e-5)
        assert hit.score == pytest.approx(vectors[entry] @ query, abs=1e-5)
    assert (answer.query, answer.confidence) == (QUERY, answer.hits[0].score)
    assert set(answer.milliseconds) == {"embed", "search"}


def test_the_committed_faq_answers_its_own_questions(retriever: Retriever) -> None:
    rankings = retriever.rank([faq.question for faq in retriever.faqs])
    assert [ranking.entries[0] for ranking in rankings] == list(range(len(retriever.faqs)))


def test_the_baseline_answers_everything(retriever: Retriever) -> None:
    for query in ("who won the world cup in 1998?", "?"):
        answer = retriever.answer(query)
        assert (answer.outcome, answer.reason, answer.answered) == (Outcome.ANSWER, Reason.UNCALIBRATED, True)


def test_with_a_second_encoder_a_similarity_is_the_weighted_mean_of_both(retriever: Retriever, cache_dir: Path) -> None:
    config = retriever.config.with_changes(second_encoder="data/encoder")
    both = Retriever.build(retriever.faqs, config, encoder=retriever.encoder, cache_dir=cache_dir)
    second = Retriever.build(retriever.faqs, config.with_changes(encoder="data/encoder", second_encoder=""))
    first, other, mean = (of.similarities([QUERY, "gift"]) for of in (retriever, second, both))
    np.testing.assert_allclose(mean, (1 - SECOND_WEIGHT) * first + SECOND_WEIGHT * other, atol=1e-6)
    assert both.answer(QUERY).confidence == pytest.approx(mean[0].max())
    first, other, mean = (of.vectors(["returns", "gift"]) @ of.vectors([QUERY])[0] for of in (retriever, second, both))
    np.testing.assert_allclose(mean, (1 - SECOND_WEIGHT) * first + SECOND_WEIGHT * other, atol=1e-6)


def test_probabilities_and_two_thresholds_decide(retriever: Retriever) -> None:
    calibrated = retriever.with_config(scale=20.0, null_cosine=0.4)
    plain = calibrated.answer(QUERY)
    first, in_scope = plain.hits[0].score, plain.confidence
    assert 0 < first < in_scope < 1
    for decline_below, answer_from, expected in [
        (in_scope, first, ("answer", "confident")),
        (in_scope + 1e-6, 0, ("decline", "below_threshold")),
        (in_scope, first + 1e-6, ("clarify", "ambiguous")),
    ]:
        answer = calibrated.with_config(decline_below=decline_below, answer_from=answer_from).answer(QUERY)
        assert (answer.outcome, answer.reason) == expected
        assert answer.answered == (answer.outcome == "answer")
        assert answer.hits[:3] == plain.hits  # whatever the outcome
        assert list(answer.choices) == [hit.faq.question for hit in answer.hits[: len(answer.choices)]]
        assert len(answer.choices) in ((2, 3) if answer.outcome == "clarify" else (0,))
    clarified = calibrated.with_config(answer_from=1.0, top_k=1).answer(QUERY)
    assert len(clarified.hits) == len(clarified.choices) >= 2  # even if fewer are to be returned


@pytest.mark.parametrize("query", ["???", "📦❓", "…"])
def test_a_query_without_words_is_declined_however_near_it_is(retriever: Retriever, query: str) -> None:
    answer = retriever.with_config(scale=20.0, null_cosine=-1.0).answer(query)
    assert (answer.outcome, answer.reason, answer.confidence) == (Outcome.DECLINE, Reason.NO_WORDS, 0)
    assert len(answer.hits) == 3


def test_a_single_entry_is_declined_if_it_is_not_near_enough_and_never_clarified(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    config = RetrievalConfig(scale=20.0, null_cosine=0.4, decline_below=0.7, answer_from=1.0)
    faqs = FaqSet.load(write_faqs([("Where is my parcel?", "Here.")]))
    lone = Retriever.build(faqs, config, encoder=encoder, cache_dir=cache_dir)
    queries = ("where is my parcel", "parcel", "package", "delivery", "letter", "how do I pay", "weather")
    answers = [lone.answer(query) for query in queries]
    assert [answer.outcome == "decline" for answer in answers] == [answer.confidence < 0.7 for answer in answers]
    assert {str(answer.outcome) for answer in answers} == {"answer", "decline"}


FURNITURE = [("Where is the manual of the Brimvik?", "On page 2."), ("How do I build a bed?", "See page 9.")]
BED = "building the brimvick"


@pytest.mark.parametrize("scale", [20.0, None])
def test_n_grams_change_the_order_but_not_whether_some_entry_is_right(
    scale: float | None, write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    config = RetrievalConfig(scale=scale, null_cosine=0.2, ngram_weight=0.6)
    retriever = Retriever.build(FaqSet.load(write_faqs(FURNITURE)), config, encoder=encoder, cache_dir=cache_dir)
    with_n_grams, without = retriever.answer(BED), retriever.with_config(ngram_weight=0.0).answer(BED)
    assert [hit.faq.id for hit in with_n_grams.hits] == ["0", "1"]
    assert [hit.faq.id for hit in without.hits] == ["1", "0"]
    assert with_n_grams.confidence == pytest.approx(without.confidence)
    assert [hit.squared_l2 for hit in with_n_grams.hits] == [hit.squared_l2 for hit in reversed(without.hits)]
    assert with_n_grams.hits[0].score > with_n_grams.hits[1].score
    if scale:
        assert sum(hit.score for hit in with_n_grams.hits) == pytest.approx(with_n_grams.confidence)
    assert retriever.rank([BED])[0].entries.tolist() == [0, 1]


@pytest.mark.parametrize("query", ["", " \n\t", "\x00\x01\x07", "\u200b\ufeff", "\u00a0"])
def test_a_blank_query_is_refused(retriever: Retriever, query: str) -> None:
    for look_up in (retriever.answer, lambda query: retriever.rank([query])):
        with pytest.raises(FaqlabError, match=r"^The query is empty"):
            look_up(query)


@pytest.mark.parametrize(
    "query", ["parcel " * 10_000, "📦❓", "我的包裹在哪里？", "where\x00 is\x1b[31m it\x07", "my \ud83d parcel"]
)
def test_any_other_text_has_hits(retriever: Retriever, query: str) -> None:
    hits = retriever.answer(query).hits
    assert len(hits) == 3
    assert all(0 <= hit.squared_l2 <= 4 for hit in hits)


def test_top_k_may_be_any_number_from_1(retriever: Retriever) -> None:
    hits = retriever.with_config(top_k=10**6).answer(QUERY).hits
    assert sorted(hit.faq.id for hit in hits) == sorted(retriever.faqs.ids)
    with pytest.raises(FaqlabError, match=r"^top_k: input should be greater than or equal to 1\.$"):
        retriever.with_config(top_k=0)


def test_other_thresholds_share_index_and_n_grams_and_other_views_need_a_build(retriever: Retriever) -> None:
    n_grams = retriever.with_config(ngram_weight=0.3)
    n_grams.answer(QUERY)
    assert n_grams.with_config(top_k=1, ngram_weight=0.2).ngrams is n_grams.ngrams
    assert n_grams.index is retriever.index
    for change in ({"views": ("answer",)}, {"encoder": "another"}, {"second_encoder": "another"}):
        with pytest.raises(ValueError, match=r"needs Retriever\.build"):
            retriever.with_config(**change)


def test_the_second_build_over_a_file_embeds_nothing(
    write_faqs: WriteFaqs, counting: CountingEncoder, tmp_path: Path
) -> None:
    faqs = FaqSet.load(write_faqs())
    hits = [
        Retriever.build(faqs, encoder=counting, cache_dir=tmp_path / "cache").answer("shoes").hits for _ in range(2)
    ]
    assert hits[0] == hits[1]
    assert counting.texts == [*(question for question, _ in SMALL), "shoes", "shoes"]


@pytest.mark.parametrize(
    "worded",
    [
        "Can I send shoes back",
        "(can I send shoes back??)",
        "“Can I send shoes back?” 🙂",
        "Please can I send shoes back",
    ],
)
def test_quotation_marks_politeness_and_punctuation_change_nothing(retriever: Retriever, worded: str) -> None:
    retriever = retriever.with_config(ngram_weight=0.3)
    plain, other = retriever.answer(QUERY), retriever.answer(worded)
    assert [(hit.faq, hit.score) for hit in other.hits] == [(hit.faq, hit.score) for hit in plain.hits]


def test_a_curly_apostrophe_is_an_apostrophe_and_please_alone_is_still_a_query(retriever: Retriever) -> None:
    straight, curly = (retriever.answer(f"what{mark}s your return policy").hits for mark in "'’")
    assert straight == curly
    assert retriever.answer("please").hits


def test_entries_with_the_same_answer_are_counted_together_and_not_offered_side_by_side(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    answer = "Yes, points can be given to a friend under 'My points'."
    pairs = [("Can I give points to a friend?", answer), ("Can points be transferred to someone?", answer), *SMALL]
    config = RetrievalConfig(scale=20.0, null_cosine=0.1, answer_from=0.8, views=("question", "answer"))
    retriever = Retriever.build(FaqSet.load(write_faqs(pairs)), config, encoder=encoder, cache_dir=cache_dir)
    [ranking] = retriever.rank(["can I hand my points on to a friend"])
    assert ranking.scores[0] < 0.8 <= ranking.first
    assert ranking.outcome == Outcome.ANSWER
    assert set(ranking.entries[:2]) == {0, 1} and len(set(ranking.offered) & {0, 1}) == 1


def test_short_answers_that_differ_in_a_word_are_different(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    pairs = [
        (f"Where is the {time} course?", f"Go to room {room}.") for time, room in (("first", "six"), ("late", "five"))
    ]
    config = RetrievalConfig(scale=20.0, null_cosine=-1.0, answer_from=0.9, views=("question", "answer"))
    retriever = Retriever.build(FaqSet.load(write_faqs(pairs)), config, encoder=encoder, cache_dir=cache_dir)
    answer = retriever.answer("where is the course")
    assert answer.outcome == "clarify" and len(answer.choices) == 2


def test_long_answers_that_only_begin_the_same_are_different(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    opening = "Our shop has sold things since the old harbour was built, and we are proud of it. " * 12
    pairs = [
        ("Shoes?", opening + "Shoes come back within thirty days."),
        ("Hats?", opening + "Hats stay sold for ever."),
    ]
    config = RetrievalConfig(scale=20.0, null_cosine=-0.5, answer_from=0.8, views=("question", "answer"))
    retriever = Retriever.build(FaqSet.load(write_faqs(pairs)), config, encoder=encoder, cache_dir=cache_dir)
    [ranking] = retriever.rank(["can I return it"])
    assert len(ranking.offered) == 2


def test_far_queries_are_declined_however_many_entries_there_are(
    ecommerce: FaqSet, encoder: Encoder, cache_dir: Path
) -> None:
    config, asked = RetrievalConfig(scale=20.0), ["how tall is Mount Everest", "tell me a joke", "who is the president"]
    few, many = (
        Retriever.build(FaqSet(entries), config, encoder=encoder, cache_dir=cache_dir).rank(asked)
        for entries in (ecommerce.entries[:5], ecommerce.entries)
    )
    assert all(b.confidence < a.confidence + 0.2 for a, b in zip(few, many, strict=True))
