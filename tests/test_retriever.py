"""A question in, the nearest entries and a decision out, by one configuration that is kept in a file."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from conftest import CountingEncoder, WriteFaqs

from faqlab.decision import Outcome
from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import BASELINE, Hit, RetrievalConfig, Retriever, format_context, questions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "retrieval.json"


def test_the_baseline_is_the_question_vectors_of_minilm_the_nearest_three_and_no_threshold() -> None:
    assert RetrievalConfig("all-MiniLM-L6-v2", ("question",), 3, scale=None) == BASELINE


def test_hits_are_formatted_as_blocks_of_q_and_a_parted_by_a_blank_line() -> None:
    hits = [Hit(1, Faq("a", "Who?", "Me.\nYes."), 0.1, 0.95), Hit(2, Faq("b", "Where?", "Here."), 0.2, 0.9)]
    assert format_context(hits) == "Q: Who?\nA: Me.\nYes.\n\nQ: Where?\nA: Here."
    assert format_context([]) == ""


def test_hits_come_best_first_with_rank_distance_and_score(retriever: Retriever) -> None:
    answer = retriever.answer("can I send shoes back?")
    vectors = retriever.index.vectors
    query = retriever.encoder.encode(["can I send shoes back?"])[0]
    best = np.argsort(((vectors - query) ** 2).sum(axis=1))[:3]
    assert [hit.faq for hit in answer.hits] == [retriever.faqs.entries[i] for i in best]
    assert [hit.rank for hit in answer.hits] == [1, 2, 3]
    for hit, entry in zip(answer.hits, best, strict=True):
        assert hit.squared_l2 == pytest.approx(((vectors[entry] - query) ** 2).sum(), abs=1e-5)
        assert hit.score == pytest.approx(vectors[entry] @ query, abs=1e-5)
    assert answer.query == "can I send shoes back?"
    assert answer.confidence == answer.hits[0].score
    assert set(answer.milliseconds) == {"embed", "search"}
    assert all(ms > 0 for ms in answer.milliseconds.values())
    assert retriever.search("can I send shoes back?") == answer.hits


def test_the_committed_faq_answers_its_own_questions_with_themselves(retriever: Retriever) -> None:
    for faq in retriever.faqs:
        assert retriever.search(faq.question, top_k=1)[0].faq == faq


def test_the_probabilities_and_the_two_thresholds_decide(retriever: Retriever) -> None:
    query = "can I send shoes back?"
    calibrated = retriever.with_config(scale=20.0, none=0.4)
    plain = calibrated.answer(query)
    first, in_scope = plain.hits[0].score, plain.confidence
    assert 0 < first < in_scope < 1
    assert [hit.faq for hit in plain.hits] == [hit.faq for hit in retriever.search(query)]
    for decline_below, answer_from, outcome in [
        (in_scope, first, "answer"),
        (in_scope + 1e-6, 0, "decline"),
        (in_scope, first + 1e-6, "ask_back"),
        (0, 1, "ask_back"),
    ]:
        answer = calibrated.with_config(decline_below=decline_below, answer_from=answer_from).answer(query)
        assert answer.outcome == outcome
        assert answer.answered == (outcome == "answer")
        assert [hit.faq for hit in answer.hits[:3]] == [hit.faq for hit in plain.hits]  # the hits are told either way
        assert list(answer.choices) == [hit.faq.question for hit in answer.hits[: len(answer.choices)]]
        assert len(answer.choices) in ((2, 3) if outcome == "ask_back" else (0,))


def test_the_distance_threshold_is_where_a_lone_entry_would_be_declined(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    config = RetrievalConfig(scale=20.0, none=0.4, decline_below=0.7)
    faqs = FaqSet.load(write_faqs([("Where is my parcel?", "Here.")]))
    lone = Retriever.build(faqs, config, encoder=encoder, cache_dir=cache_dir)
    limit = lone.squared_l2_threshold
    assert limit is not None
    outcomes = set()
    for query in ("where is my parcel", "parcel", "package", "delivery", "letter", "how do I pay", "weather"):
        answer = lone.answer(query)
        assert (answer.outcome == "decline") == (answer.hits[0].squared_l2 > limit)
        outcomes.add(str(answer.outcome))
    assert outcomes == {"answer", "decline"}  # with one entry there is nothing to ask back
    assert lone.threshold == 0.7
    assert lone.with_config(decline_below=0.0).squared_l2_threshold is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("where is my parcel and how do I pay?", ["where is my parcel", "how do I pay"]),
        ("Where is my parcel? Also, can I return shoes?", ["Where is my parcel", "Also, can I return shoes"]),
        ("where is my parcel", []),
        ("I bought shoes and socks and want to return both", []),
        ("um. yes. where is my parcel?", []),
        ("My blender stopped working after half a year. Will you fix it?", []),
        ("My order is late. Can I cancel it?", []),
        (
            "In the shop it was full. On Monday, how full is it, and may I bring a friend?",
            [
                "In the shop it was full",
                "On Monday, how full is it",
                "may I bring a friend",
            ],
        ),
    ],
)
def test_a_query_with_two_questions_is_told_apart(query: str, expected: list[str]) -> None:
    assert questions(query) == expected


def test_a_query_of_spaces_is_told_apart_in_linear_time() -> None:
    start = time.process_time()
    assert questions(f"where is my{' ' * 100_000}parcel and how do I pay") == ["where is my parcel", "how do I pay"]
    assert time.process_time() - start < 2


def test_two_questions_at_once_get_both_answers(write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path) -> None:
    config = RetrievalConfig(scale=20.0, none=0.4, decline_below=0.5, answer_from=0.6)
    retriever = Retriever.build(FaqSet.load(write_faqs()), config, encoder=encoder, cache_dir=cache_dir)
    answer = retriever.answer("where is my parcel and how do I pay?")
    assert (answer.outcome, answer.answers) == (Outcome.ANSWER, 2)
    assert [hit.faq.id for hit in answer.hits[:2]] == ["0", "1"]
    assert [hit.rank for hit in answer.hits] == [1, 2, 3]
    assert len({hit.faq.id for hit in answer.hits}) == 3
    assert retriever.answer("where is my parcel and who won the cup?").answers == 1
    assert len(retriever.with_config(top_k=1).answer("where is my parcel and how do I pay?").hits) == 2


def test_two_answers_are_as_likely_and_as_near_as_each_is_for_its_own_question(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    config = RetrievalConfig(scale=20.0, none=0.4, decline_below=0.5, answer_from=0.6)
    retriever = Retriever.build(FaqSet.load(write_faqs()), config, encoder=encoder, cache_dir=cache_dir)
    both, *each = map(retriever.answer, ("where is my parcel and how do I pay?", "where is my parcel", "how do I pay"))
    for hit, answer in zip(both.hits, each, strict=False):
        assert hit.score == pytest.approx(answer.hits[0].score)
        assert hit.squared_l2 == pytest.approx(answer.hits[0].squared_l2, abs=1e-6)


def test_two_answers_are_no_less_sure_than_the_threshold(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    config = RetrievalConfig(scale=20.0, none=0.4)
    retriever = Retriever.build(FaqSet.load(write_faqs()), config, encoder=encoder, cache_dir=cache_dir)
    threshold = min(retriever.answer(question).confidence for question in ("where is my parcel", "how do I pay"))
    answer = retriever.with_config(decline_below=threshold - 1e-9).answer("where is my parcel and how do I pay?")
    assert answer.answers == 2
    assert answer.confidence >= threshold - 1e-9


def test_both_answers_are_found_where_a_thousand_entries_are_nearer_to_the_two_questions_together(
    write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path
) -> None:
    together = [(f"Where is my parcel and how do I pay, case {n}?", "See there.") for n in range(1198)]
    faqs = FaqSet.load(write_faqs([("Where is my parcel?", "Here."), *together, ("How do I pay?", "By card.")]))
    retriever = Retriever.build(
        faqs, RetrievalConfig(scale=100.0, answer_from=0.6), encoder=encoder, cache_dir=cache_dir
    )
    query = "where is my parcel and how do I pay?"
    assert "1199" not in {hit.faq.id for hit in retriever.search(query, 1000)}
    answer = retriever.answer(query)
    assert (answer.answers, [hit.faq.id for hit in answer.hits[:2]]) == (2, ["0", "1199"])
    assert retriever.rank([query])[0].entries[:2].tolist() == [0, 1199]


def test_without_a_threshold_everything_is_answered(retriever: Retriever) -> None:
    assert retriever.answer("who won the world cup in 1998?").outcome is Outcome.ANSWER


@pytest.mark.parametrize("query", ["", " \n\t", "\x00\x01\x07", "\u200b\ufeff", "\u00a0"])
def test_a_query_with_nothing_in_it_is_refused_in_a_sentence(retriever: Retriever, query: str) -> None:
    for look_up in (retriever.answer, retriever.search):
        with pytest.raises(FaqlabError, match=r"^The query is empty: ask something in words\.$"):
            look_up(query)


@pytest.mark.parametrize(
    "query",
    [
        "where is my parcel " * 2_500,
        "📦❓",
        "我的包裹在哪里？",
        "أين طردي؟",
        "where\x00 is\x1b[31m my parcel\x07",
        "where is my \ud83d parcel",
        "?",
    ],
    ids=["10,000 words", "emoji", "Chinese", "Arabic", "control characters", "half a character", "one sign"],
)
def test_an_odd_query_has_an_answer_like_any_other(retriever: Retriever, query: str) -> None:
    hits = retriever.answer(query).hits
    assert len(hits) == 3
    assert all(0 <= hit.squared_l2 <= 4 for hit in hits)


def test_control_characters_in_a_query_do_not_change_what_is_found(retriever: Retriever) -> None:
    plain, odd = (retriever.search(query) for query in ("where is my parcel", "where\x00 is\x07 my parcel\x1b"))
    assert [hit.faq for hit in plain] == [hit.faq for hit in odd]


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_below_1_is_refused_in_a_sentence(retriever: Retriever, top_k: int) -> None:
    for ask in (lambda: retriever.search("my parcel", top_k), lambda: retriever.with_config(top_k=top_k)):
        with pytest.raises(FaqlabError, match=f"top_k is {top_k}: expected a whole number from 1 up"):
            ask()


def test_a_top_k_of_a_million_gives_every_entry_once(retriever: Retriever) -> None:
    hits = retriever.with_config(top_k=10**6).answer("my parcel").hits
    assert sorted(hit.faq.id for hit in hits) == sorted(retriever.faqs.ids)
    assert retriever.search("my parcel", 10**6) == hits


def test_another_threshold_uses_the_same_vectors_and_another_view_needs_a_build(retriever: Retriever) -> None:
    assert retriever.with_config(top_k=1).index is retriever.index
    for change in ({"views": ("answer",)}, {"encoder": "another"}):
        with pytest.raises(ValueError, match=r"needs Retriever\.build"):
            retriever.with_config(**change)


def test_the_second_build_over_one_file_embeds_nothing(
    write_faqs: WriteFaqs, counting: CountingEncoder, tmp_path: Path
) -> None:
    faqs = FaqSet.load(write_faqs())
    first = Retriever.build(faqs, encoder=counting, cache_dir=tmp_path / "cache").search("shoes")
    counting.texts.clear()
    second = Retriever.build(faqs, encoder=counting, cache_dir=tmp_path / "cache").search("shoes")
    assert counting.texts == ["shoes"]
    assert first == second


def test_a_configuration_comes_back_from_its_file_as_it_was(path: Path) -> None:
    config = RetrievalConfig(
        views=("question", "answer"), top_k=5, scale=22.5, none=0.4, lexical=0.3, decline_below=0.6
    )
    config.save(path)
    assert RetrievalConfig.load(path) == config
    BASELINE.save(path)
    assert RetrievalConfig.load(path) == BASELINE


def test_a_configuration_is_written_rounded_so_that_a_rerun_writes_the_same_bytes(path: Path) -> None:
    RetrievalConfig(none=0.41249999).save(path)
    first = path.read_bytes()
    assert json.loads(first)["none"] == 0.412
    assert first.endswith(b"}\n")
    RetrievalConfig(none=0.41250001 - 1e-4).save(path)
    assert path.read_bytes() == first
    RetrievalConfig.load(path).save(path)
    assert path.read_bytes() == first


def test_a_configuration_that_was_named_and_is_not_there_means_the_baseline_and_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert RetrievalConfig.load(path) == BASELINE
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path}: no such file, so questions are decided as in the baseline: copy ")


def test_without_the_projects_own_configuration_the_baseline_goes_without_saying(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("faqlab.retriever.RETRIEVAL", path)
    assert RetrievalConfig.load(path) == BASELINE
    assert caplog.text == ""


def test_a_setting_left_out_is_the_baselines(path: Path) -> None:
    path.write_text('{"top_k": 7}')
    assert RetrievalConfig.load(path) == RetrievalConfig(top_k=7)


def test_a_configuration_cannot_be_changed_under_way() -> None:
    with pytest.raises(FrozenInstanceError):
        BASELINE.top_k = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "cannot be read as JSON"),
        (b"", "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"[]", "unknown setting list"),
        (b'{"top_n": 3}', r"unknown setting \['top_n'\]: known are \['answer_from'"),
        (b'{"top_k": 0}', "top_k is 0: expected a whole number from 1 up"),
        (b'{"top_k": -1}', "top_k is -1: expected a whole number"),
        (b'{"top_k": 2.5}', "top_k is 2.5: expected a whole number"),
        (b'{"top_k": "3"}', "top_k is '3': expected a whole number"),
        (b'{"top_k": true}', "top_k is True: expected a whole number"),
        (b'{"top_k": null}', "top_k is None: expected a whole number"),
        (b'{"scale": 0}', "scale is 0: expected a number from 1 to 1000"),
        (b'{"scale": true}', "scale is True: expected a number"),
        (b'{"none": "1"}', "none is '1': expected a number from -1 to 1"),
        (b'{"none": null}', "none is None: expected a number"),
        (b'{"lexical": -0.1}', "lexical is -0.1: expected a number from 0 to 10"),
        (b'{"lexical": "much"}', "lexical is 'much': expected a number"),
        (b'{"decline_below": NaN}', "decline_below is nan: expected a number from 0 to 1"),
        (b'{"answer_from": 1.1}', "answer_from is 1.1: expected a number from 0 to 1"),
        (b'{"decline_below": 1}', "mean nothing without a scale: add one, or leave both out"),
        (b'{"answer_from": 0.5}', "mean nothing without a scale"),
        (b'{"views": []}', r"views are \[\]: expected some of \['question'"),
        (b'{"views": ["title"]}', r"views are \['title'\]: expected some of \['question'"),
        (b'{"views": [["question"]]}', "views are .*: expected some of"),
        (b'{"views": "question"}', "views are 'question': expected a list"),
        (b'{"views": null}', "views are None: expected a list"),
        (b'{"encoder": 5}', "encoder is 5: expected the name of one"),
        (b'{"encoder": ""}', "encoder is '': expected the name of one"),
    ],
)
def test_a_bad_configuration_is_refused_in_a_sentence_that_names_the_file(
    path: Path, content: bytes, expected: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(FaqlabError, match=expected) as error:
        RetrievalConfig.load(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["a" * 300, "mine.csv/retrieval.json", "."])
def test_a_configuration_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.csv").touch()
    with pytest.raises(FaqlabError, match=r"cannot be written \(.*: name another file by FAQLAB_RETRIEVAL"):
        BASELINE.save(tmp_path / name)


def test_a_folder_in_place_of_the_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaqlabError, match="cannot be read as JSON"):
        RetrievalConfig.load(tmp_path)
