"""What is small talk and what is a question, by the encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.words import normalise_words
from faqlab import replies
from faqlab.retriever import Retriever
from faqlab.small_talk import PHRASINGS, SmallTalk

HELD_OUT: dict[str, list[str]] = json.loads(Path(__file__).with_name("small_talk_heldout.json").read_text())
"""Phrasings by intent that were written before the data file, and that nothing was tuned on."""


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Nope that's it", "goodbye"),
        ("Bye now", "goodbye"),
        ("Have a great day", "goodbye"),
        ("Can I speak to a human?", "human"),
        ("Sorry, can you say that one more time?", "repeat"),
        ("I didn't get that", "repeat"),
        ("Could you repeat the last part?", "repeat"),
        ("Is this an AI?", "robot"),
        ("hang on a sec", "wait"),
        ("Great, thanks a million", "thanks"),
        ("You.", "unclear"),
        ("", "unclear"),
    ],
)
def test_small_talk_is_known_in_words_that_are_not_in_the_data_file(
    small_talk: SmallTalk, text: str, intent: str
) -> None:
    assert small_talk.classify(text) == intent


def test_nine_of_ten_held_out_phrasings_are_small_talk_and_no_held_out_question_is(
    small_talk: SmallTalk, retriever: Retriever
) -> None:
    found = {
        intent: [small_talk.classify(text, retriever.index) for text in texts] for intent, texts in HELD_OUT.items()
    }
    assert set(found.pop("question")) == {None}
    intents = [intent for labels in found.values() for intent in labels]
    assert len(intents) - intents.count(None) >= 0.9 * len(intents)
    assert sum(labels.count(intent) for intent, labels in found.items()) >= 0.8 * len(intents)


def test_no_held_out_phrasing_is_in_the_data_file() -> None:
    known = {normalise_words(text) for texts in json.loads(PHRASINGS.read_text()).values() for text in texts}
    assert not known & {normalise_words(text) for texts in HELD_OUT.values() for text in texts}


@pytest.mark.parametrize(
    "text",
    ["Hi, where is my parcel?", "Thanks, and how do I return it?", "Hello, um, can I return a sale item?", "Refund."],
)
def test_small_talk_around_a_question_leaves_it_a_question(small_talk: SmallTalk, text: str) -> None:
    assert small_talk.classify(text) is None


def test_no_query_to_the_shop_is_small_talk(small_talk: SmallTalk, retriever: Retriever, queries: pd.DataFrame) -> None:
    answerable = queries[(queries["split"] == "tune") & queries["relevant"].map(bool)]
    assert [text for text in answerable["query"] if small_talk.classify(text, retriever.index)] == []


def test_small_talk_that_an_entry_answers_is_looked_up(small_talk: SmallTalk, retriever: Retriever) -> None:
    [entry] = [faq.question for faq in retriever.faqs if "customer service" in faq.question]
    assert small_talk.classify("customer service") == "human"
    assert small_talk.classify(entry, retriever.index) is None


def test_a_story_is_never_small_talk(small_talk: SmallTalk) -> None:
    assert small_talk.classify("thank you " * 8) is None


def test_each_intent_has_a_reply(small_talk: SmallTalk) -> None:
    assert set(small_talk.intents) == {*replies.SMALL_TALK, "repeat"}
