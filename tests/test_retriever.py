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
from faqlab.retriever import Retriever

QUERY = "can I send shoes back?"


def test_hits_come_best_first_with_rank_distance_and_score(retriever: Retriever) -> None:
    answer = retriever.answer(QUERY)
    vectors, query = retriever.index.vectors, retriever.encoder.encode([QUERY])[0]
    best = np.argsort(((vectors - query) ** 2).sum(axis=1))[:3]
    assert [hit.faq for hit in answer.hits] == [retriever.faqs.entries[i] for i in best]
    assert [hit.rank for hit in answer.hits] == [1, 2, 3]
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
    assert retriever.squared_l2_threshold is None


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


def test_a_single_entry_is_declined_beyond_the_distance_threshold_and_never_clarified(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    config = RetrievalConfig(scale=20.0, null_cosine=0.4, decline_below=0.7, answer_from=1.0)
    faqs = FaqSet.load(write_faqs([("Where is my parcel?", "Here.")]))
    lone = Retriever.build(faqs, config, encoder=encoder, cache_dir=cache_dir)
    limit = lone.squared_l2_threshold
    assert limit is not None
    queries = ("where is my parcel", "parcel", "package", "delivery", "letter", "how do I pay", "weather")
    answers = [lone.answer(query) for query in queries]
    assert [answer.outcome == "decline" for answer in answers] == [
        answer.hits[0].squared_l2 > limit for answer in answers
    ]
    assert {str(answer.outcome) for answer in answers} == {"answer", "decline"}
    assert lone.with_config(decline_below=0.0).squared_l2_threshold is None


FURNITURE = [("How do I assemble it?", "Page 2 has the Brimvik."), ("How do I build it?", "Page 9 has the Torsund.")]
BED = "setting up a brimvick"


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
    for change in ({"views": ("answer",)}, {"encoder": "another"}):
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
