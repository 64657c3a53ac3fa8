"""What callers asked in vain, and what is added to the FAQ file from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, WriteFaqs

from benchmarks import unanswered
from faqlab import improve, widgets
from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.lookup_log import LookupLog, LookupRecord, load_records
from faqlab.retriever import Retriever
from faqlab.text import normalised
from faqlab.widgets import Panel

PARKING = ["Where can I park?", "is there a car park", "parking for customers"]
DOGS = ["May I bring my dog?", "are dogs allowed", "can my dog come in"]
HITS = [{"id": "0", "question": SMALL[0][0]}, {"id": "1", "question": SMALL[1][0]}]


def record(query: str, outcome: str, reason: str = "", room: str = "a", **changes: Any) -> LookupRecord:
    choices = [hit["question"] for hit in HITS] if outcome == "clarify" else []
    base = LookupRecord(query, room, 0.5, outcome, reason, outcome == "answer", hits=HITS, choices=choices)
    return replace(base, **changes)


def asked(*records: LookupRecord) -> list[tuple[str, str]]:
    table = improve.unanswered(records)
    return list(zip(table["query"], table["why"], strict=True))


def test_declined_failed_and_unhelpful_look_ups_are_unanswered_and_answers_are_not() -> None:
    records = [
        record("do you sell boats", "decline", "below_threshold"),
        record("how do I pay", "answer", "confident", helpful=True),
        record("where is it", "answer", "confident", helpful=False),
        record("refunds", "failed", "error", hits=[]),
        record("???", "decline", "no_words"),
    ]
    assert asked(*records) == [
        ("do you sell boats", "declined"),
        ("where is it", "not helpful"),
        ("refunds", "failed"),
    ]


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ([], "clarified in vain"),
        ([("the second one", "answer", "chosen", {})], None),
        ([("the second one", "answer", "chosen", {"helpful": False})], "not helpful"),
        ([("neither", "decline", "rejected", {})], "clarified in vain"),
        ([("yes", "clarify", "no_choice", {}), ("one", "answer", "chosen", {})], None),
        ([("yes", "clarify", "no_choice", {})], "clarified in vain"),
        ([("how can I pay for it", "answer", "confident", {})], None),
        ([("opening hours", "answer", "confident", {"hits": [{"id": "9"}]})], "clarified in vain"),
        ([("the second one", "answer", "chosen", {"room": "b"})], "clarified in vain"),
    ],
)
def test_a_clarifying_question_is_in_vain_unless_what_it_offered_is_the_next_answer(
    then: list, why: str | None
) -> None:
    replies = [record(query, outcome, reason, **changes) for query, outcome, reason, changes in then]
    expected = [("about my order", why)] if why else []
    assert asked(record("about my order", "clarify", "ambiguous"), *replies) == expected


def test_a_records_folder_gives_the_same_as_the_log_that_wrote_it(tmp_path: Path) -> None:
    log = LookupLog(tmp_path)
    for each in (record("boats", "decline"), record("pay", "answer"), record("trains", "decline", room="b")):
        log.add(each)
    log.update(log.records[1].room, log.records[1].id, helpful=False)
    with next(tmp_path.iterdir()).open("a") as file:
        file.write('{"query": "cut o')
    pd.testing.assert_frame_equal(improve.unanswered(load_records(tmp_path)), improve.unanswered(log.records))
    with pytest.raises(FaqlabError, match="no records"):
        load_records(tmp_path / "other")


def test_records_without_hits_or_their_ids_are_questions_like_others() -> None:
    unsure = record("about my order", "clarify", "ambiguous")
    for hits in ([], [{}]):
        assert asked(unsure, record("and now", "answer", "chosen", hits=hits)) == [
            ("about my order", "clarified in vain")
        ]


def vain(*queries: str) -> pd.DataFrame:
    rooms = [f"call-{n}" for n in range(len(queries))]
    return pd.DataFrame({"query": queries, "room": rooms, "why": "declined"})


@pytest.fixture
def small(write_faqs: WriteFaqs, encoder: Encoder, cache_dir: Path) -> Retriever:
    return Retriever.build(FaqSet.load(write_faqs()), encoder=encoder, cache_dir=cache_dir)


def test_questions_are_grouped_by_meaning_whatever_their_order(small: Retriever) -> None:
    mixed = [text for pair in zip(PARKING, DOGS, strict=True) for text in pair]
    for order in (mixed, mixed[::-1]):
        found = improve.groups(vain(*order, "where is my parcel now"), small)
        assert {frozenset(texts) for texts in found["phrasings"]} == {
            frozenset(PARKING),
            frozenset(DOGS),
            frozenset(["where is my parcel now"]),
        }
        assert list(found["questions"]) == [3, 3, 1]
        assert all(name == texts[0] for name, texts in zip(found["name"], found["phrasings"], strict=True))
        assert found["to"].iloc[2][:2] == ["", "0"]


def test_a_group_is_named_by_a_short_question_and_counts_its_callers(small: Retriever) -> None:
    story = "um hello so I was wondering where I can park my car when I come to your shop with my mother"
    table = vain(story, *PARKING, PARKING[0]).assign(room=["a", "a", "b", "b", "c"])
    [group] = improve.groups(table, small).to_dict("records")
    assert (group["questions"], group["callers"], len(group["phrasings"])) == (5, 3, 4)
    assert group["name"] in PARKING
    assert group["phrasings"][-1] == story


def test_no_question_and_one_question_make_no_group_and_one(small: Retriever) -> None:
    assert improve.groups(vain(), small).empty
    assert list(improve.groups(vain("boats"), small)["name"]) == ["boats"]


@pytest.mark.parametrize("layout", [{"indent": 2}, {"indent": "\t"}, {}, {"indent": 1, "ensure_ascii": False}])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_new_entry_keeps_the_rest_of_the_file_as_it_was(tmp_path: Path, layout: dict[str, Any], end: str) -> None:
    path = tmp_path / "mine.json"
    entry = {"id": "a", "question": "Häfen?", "answer": "Ja.", "owner": {"name": "Ann"}, "price": [1.5, None]}
    data: dict[str, Any] = {"version": 3, "questions": [entry], "notes": ["ä"]}
    path.write_text(json.dumps(data, **layout) + end, encoding="utf-8")
    added = improve.add_phrasings(path, ["Do you sell boats?", " any ships ", "", "ANY SHIPS?"], answer=" No. ")
    assert added == ["Do you sell boats?", "ANY SHIPS?"]
    new = {"id": "do-you-sell-boats-1", "question": added[0], "answer": "No.", "alternatives": added[1:]}
    data["questions"].append(new)
    assert path.read_text(encoding="utf-8") == json.dumps(data, **layout) + end
    assert [*tmp_path.iterdir()] == [path]


def test_entries_without_ids_stay_without_and_alternatives_are_added_by_position(write_faqs: WriteFaqs) -> None:
    path = write_faqs()
    improve.add_phrasings(path, ["boats"], answer="No.")
    improve.add_phrasings(path, ["wheres my stuff"], to="0")
    improve.add_phrasings(path, ["my stuff", "wheres my stuff"], to="0")
    faqs = FaqSet.load(path)
    assert faqs.ids == ["0", "1", "2", "3", "4"]
    assert faqs["0"].alternatives == ("wheres my stuff", "my stuff")
    assert "id" not in json.loads(path.read_text())["questions"][4]


def test_no_test_query_becomes_a_phrasing_neither_as_typed_nor_as_transcribed(write_faqs: WriteFaqs) -> None:
    path, tests = write_faqs(), ["do you deliver to Norway please?", "I'd like to pay by cheque"]
    said = ["Do you deliver to Norway", "I would like to pay by cheque.", "is Norway on your list"]
    assert improve.add_phrasings(path, said, tests, to="3") == ["is Norway on your list"]
    before = path.read_text()
    for options in ({"to": "3"}, {"answer": "Yes."}):
        with pytest.raises(FaqlabError, match="neither in the FAQ nor a test query"):
            improve.add_phrasings(path, said, tests, **options)
    assert path.read_text() == before


def test_what_cannot_be_saved_is_said_in_a_sentence_and_the_file_stays(write_faqs: WriteFaqs, tmp_path: Path) -> None:
    path = write_faqs()
    before = path.read_bytes()
    with pytest.raises(FaqlabError, match="write an answer"):
        improve.add_phrasings(path, ["boats"], answer=" ")
    with pytest.raises(FaqlabError, match="write a phrasing"):
        improve.add_phrasings(path, [" ", "???", SMALL[0][0]], to="1")
    assert path.read_bytes() == before


@pytest.mark.parametrize(("raw", "to"), [("opening hours", "opening-hours"), (" 7 ", "7"), (7.0, "7")])
def test_an_entry_is_found_by_its_id_as_it_is_read(raw: object, to: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"questions": [{"id": raw, "question": "When?", "answer": "Daily."}]}))
    improve.add_phrasings(path, ["times"], to=to)
    assert FaqSet.load(path)[to].alternatives == ("times",)
    assert json.loads(path.read_text())["questions"][0]["id"] == raw


PAY, WHERE = {"question": "How do I pay?", "answer": "By card."}, {"question": "Where are you?", "answer": "Here."}


@pytest.mark.parametrize(
    "questions",
    [
        [{"_comment": "of 2024"}, PAY, WHERE],
        [{"section": "A", "questions": [PAY]}, {"section": "B", "questions": [WHERE]}],
        [PAY, {**WHERE, "variants": ["the address"]}],
        [PAY, {**WHERE, "alternatives": "map|address"}],
        [PAY, {**WHERE, "alternatives": {"en": ["map"], "de": ["Karte"]}}],
        {"pay": PAY, "where": WHERE},
    ],
)
def test_phrasings_are_added_only_if_the_file_then_has_them_in_that_entry(questions: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"questions": questions}))
    before = path.read_bytes()
    with pytest.raises(FaqlabError, match=r"only an FAQ in our JSON format .*faqlab import mine"):
        improve.add_phrasings(path, ["which street"], to=FaqSet.load(path).ids[1])
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_no_alternatives_may_be_written_as_null_and_a_phrasing_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"questions": [PAY, {**WHERE, "alternatives": None}]}))
    improve.add_phrasings(path, ["street|city", "on\nthe \ud800 map"], to="1")
    assert FaqSet.load(path)["1"].alternatives == ("street city", "on the ? map")


def test_a_new_entry_gets_an_id_that_no_other_has(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"questions": [{**PAY, "id": "boats-2"}, {**WHERE, "id": "boats-1"}, {"note": "end"}]}))
    improve.add_phrasings(path, ["Boats?"], answer="None.")
    assert FaqSet.load(path).ids == ["boats-2", "boats-1", "boats-3"]


def test_what_the_loader_would_refuse_is_not_saved_and_the_sentence_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"questions": [PAY, WHERE]}))
    before = path.read_bytes()
    with pytest.raises(FaqlabError, match=f"^{path}: question no. 3: answer: "):
        improve.add_phrasings(path, ["Boats?"], answer="none")
    assert path.read_bytes() == before


def test_an_faq_in_another_format_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("questions:\n- {question: Boats?, answer: None.}\n")
    monkeypatch.setattr("faqlab.improve.FaqSet.load", lambda path: FaqSet(()))
    with pytest.raises(FaqlabError, match=r"only an FAQ in our JSON format .*faqlab import mine\.yaml"):
        improve.add_phrasings(path, ["ships"], to="0")


LABELS = {"id": ["a", "b", "c", "d"], "query": ["wheres my stuff", "parcel status", "track it", "my cat is ill"]}


@pytest.fixture
def labelled() -> pd.DataFrame:
    table = pd.DataFrame(LABELS).assign(relevant=[("0",), ("0",), ("0",), ()], kind="x")
    return table.assign(split=["tune", "tune", "test", "test"], answerable=[True, True, True, False])


def test_no_query_judges_itself(small: Retriever, labelled: pd.DataFrame, encoder: Encoder, cache_dir: Path) -> None:
    assert small.faqs.path
    improve.add_phrasings(small.faqs.path, ["wheres my stuff"], to="0")
    after = Retriever.build(FaqSet.load(small.faqs.path), encoder=encoder, cache_dir=cache_dir)
    table = improve.effect(small, after, labelled, "0").set_index("queries")
    assert list(table.index) == [
        "2 of this entry, before",
        "1 of others, before",
        "2 of this entry, after",
        "1 of others, after",
    ]
    assert np.isnan(table.loc["1 of others, after", "hit@1"])
    assert improve.effect(small, after, labelled)["queries"].tolist() == ["3 of others, before", "3 of others, after"]


@pytest.fixture
def panel(small: Retriever, labelled: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> Panel:
    build = Retriever.build
    cache = Path(str(small.faqs.path)).parent / "cache"
    monkeypatch.setattr(
        "faqlab.widgets.Retriever.build", lambda faqs, config: build(faqs, config, encoder=encoder, cache_dir=cache)
    )
    return widgets.improver(small, improve.groups(vain(*PARKING, *DOGS, "track it"), small), labelled)


def test_one_click_makes_an_entry_and_shows_the_effect(panel: Panel, small: Retriever) -> None:
    chosen, to, phrasings, answer, button, message = panel.children
    asked = phrasings.value.split("\n")
    assert (chosen.label, to.label) == (f"1. {asked[0]}", "a new entry")
    assert set(asked) in (set(PARKING), set(DOGS))
    answer.value = "Yes, behind the house."
    button.click()
    assert small.faqs.path
    faq = FaqSet.load(small.faqs.path).entries[-1]
    assert (faq.question, faq.answer, [*faq.alternatives]) == (asked[0], "Yes, behind the house.", asked[1:])
    assert "of others, after" in message.value
    assert answer.value == ""


def test_phrasings_go_to_the_entry_that_is_chosen(panel: Panel, small: Retriever) -> None:
    _, to, phrasings, _, button, message = panel.children
    phrasings.value = "parcels & bags"
    to.value = "0"
    button.click()
    assert small.faqs.path
    assert FaqSet.load(small.faqs.path)["0"].alternatives == ("parcels & bags",)
    assert "parcels &amp; bags" in message.value
    assert "3 of this entry, after" in message.value


def test_an_answer_is_kept_when_it_cannot_be_saved(
    panel: Panel, small: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, _, _, answer, button, message = panel.children
    answer.value = "A long answer."

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("faqlab.text.write_aside", full)
        button.click()
    assert "No space left on device); it&#x27;s unchanged: check" in message.value
    chosen.value = 1
    assert answer.value == "A long answer."
    button.click()
    assert small.faqs.path
    assert FaqSet.load(small.faqs.path).entries[-1].answer == "A long answer."


def test_a_test_query_among_the_unanswered_is_not_added(panel: Panel) -> None:
    chosen, to, phrasings, _, button, message = panel.children
    chosen.value = 2
    assert phrasings.value == "track it"
    to.value = "0"
    button.click()
    assert "test query" in message.value


def test_without_proposals_the_panel_is_empty_and_says_what_is_missing(
    small: Retriever, labelled: pd.DataFrame
) -> None:
    panel = widgets.improver(small, improve.groups(vain(), small), labelled)
    assert repr(panel).startswith("[a widget")
    *_, button, message = panel.children
    button.click()
    assert "write a phrasing" in message.value


def test_the_topics_of_the_simulated_days_are_in_neither_the_faq_nor_the_queries(
    ecommerce: FaqSet, queries: pd.DataFrame
) -> None:
    known = {normalised(text) for text in queries["query"]} | set(ecommerce.phrasings)
    days = unanswered.read_topics()
    texts = [text for topics in days.values() for of in topics.values() for text in (*of["day"], *of["later"])]
    assert len({normalised(text) for text in texts}) == len(texts)
    assert not known & {normalised(text) for text in texts}
    assert not set(days["first"]) & set(days["second"])
    for topics in days.values():
        calls = unanswered.choose_calls(queries, topics)
        assert (len(calls), sum(len(of["day"]) for of in topics.values())) == (unanswered.CALLS, 40)


async def test_simulated_callers_choose_what_is_right_and_reject_the_rest(small: Retriever, tmp_path: Path) -> None:
    unsure = small.with_config(scale=5.0, answer_from=1.0)
    calls = pd.DataFrame({"query": ["how do I pay", "a hotel for my cat"], "relevant": [("1",), ()]})
    records = await unanswered.hold_calls(unsure, calls, tmp_path / "records")
    assert [record.reason for record in records] == ["ambiguous", "chosen", "ambiguous", "rejected"]
    assert records[1].hits[0]["id"] == "1"
    assert list(improve.unanswered(records)["query"]) == ["a hotel for my cat"]


async def test_simulated_callers_give_a_thumbs_down_to_wrong_answers_only(small: Retriever, tmp_path: Path) -> None:
    calls = pd.DataFrame({"query": ["how do I pay", "a hotel for my cat"], "relevant": [("1",), ()]})
    records = await unanswered.hold_calls(small, calls, tmp_path / "records")
    assert [(record.room, record.helpful) for record in records] == [("call-001", None), ("call-002", False)]
    assert list(improve.unanswered(records)["query"]) == ["a hotel for my cat"]


def test_whole_and_pure_groups_have_the_best_quality_and_split_or_mixed_ones_less() -> None:
    of_topic = {"a": "x", "b": "x", "c": "y", "d": "y"}
    asked = pd.DataFrame({"query": ["a", "b", "c", "d", "e"]})

    def judge(*groups: str) -> dict[str, Any]:
        return unanswered.quality(pd.DataFrame({"phrasings": [list(texts) for texts in groups]}), asked, of_topic)

    best = judge("ab", "cd", "e")
    assert (best["ARI"], best["V-measure"], best["ARI, all"], best["strangers"], best["main groups"]) == (1, 1, 1, 0, 1)
    split, mixed = judge("ab", "c", "d", "e"), judge("ab", "cde")
    assert (split["groups"], split["main groups"], split["strangers"]) == (3, 0.75, 0)
    assert split["ARI"] < 1
    assert (mixed["ARI"], mixed["strangers"]) == (1, 1)
    assert mixed["ARI, all"] < 1
