"""What is small talk and what is a question, by the encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CountingEncoder

from benchmarks.words import normalise_words
from faqlab import replies
from faqlab.conversation import PERSON
from faqlab.encoder import Encoder
from faqlab.retriever import Retriever
from faqlab.settings import PROJECT_ROOT
from faqlab.small_talk import PHRASINGS, SmallTalk

FOLLOW_UPS = pd.read_csv(Path(__file__).with_name("follow_ups.csv"))
"""Pairs of questions in a row to an FAQ, the second of which refers to the first; *relevant*: what answers it."""

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
    assert not known & set(FOLLOW_UPS["second"].map(normalise_words))


@pytest.mark.parametrize(
    "text",
    ["Hi, where is my parcel?", "Thanks, and how do I return it?", "Hello, um, can I return a sale item?", "Refund."],
)
def test_small_talk_around_a_question_leaves_it_a_question(small_talk: SmallTalk, text: str) -> None:
    assert small_talk.classify(text) is None


def test_no_query_to_the_shop_is_small_talk(small_talk: SmallTalk, retriever: Retriever, queries: pd.DataFrame) -> None:
    """Who is angry or wants a person may be: that is looked up first."""
    answerable = queries[(queries["split"] == "tune") & queries["relevant"].map(bool)]
    intents = answerable["query"].map(lambda text: small_talk.classify(text, retriever.index))
    assert answerable["query"][intents.notna() & ~intents.isin(PERSON)].tolist() == []


def test_small_talk_that_an_entry_answers_is_looked_up(small_talk: SmallTalk, retriever: Retriever) -> None:
    assert small_talk.classify("customer service") == "human"
    assert [faq.question for faq in retriever.faqs if small_talk.classify(faq.question, retriever.index)] == []


def test_half_of_the_follow_ups_and_no_question_before_them_refers_back(small_talk: SmallTalk) -> None:
    held_out = FOLLOW_UPS[FOLLOW_UPS["split"] == "test"]
    assert held_out["second"].map(small_talk.refers_back).mean() >= 0.5
    assert held_out["first"][held_out["first"].map(small_talk.refers_back)].tolist() == []


def test_hardly_a_query_to_the_shop_refers_back(small_talk: SmallTalk, queries: pd.DataFrame) -> None:
    tune = queries["query"][queries["split"] == "tune"]
    assert tune.map(small_talk.refers_back).mean() <= 0.02


@pytest.mark.parametrize("text", ["", "how much is that " * 8])
def test_neither_silence_nor_a_story_refers_back(small_talk: SmallTalk, text: str) -> None:
    assert not small_talk.refers_back(text)


def test_the_regression_is_fitted_once(encoder: Encoder) -> None:
    small_talk = SmallTalk.load(encoder)
    counting = CountingEncoder(encoder, encoder.name, encoder.fingerprint)
    again = SmallTalk.load(counting)
    assert counting.texts == []
    assert np.array_equal(again.weights, small_talk.weights) and np.array_equal(again.vectors, small_talk.vectors)


@pytest.mark.parametrize("text", ["computer", "Computers", "a laptop", "plumber", "time", "people", "recording"])
def test_one_word_that_may_be_the_topic_of_a_question_is_no_small_talk(small_talk: SmallTalk, text: str) -> None:
    assert small_talk.classify(text) is None


def test_one_word_of_small_talk_still_is(small_talk: SmallTalk) -> None:
    texts = {"operator": "human", "slowly": "slower", "interesting": "acknowledge", "uhhh": "unclear", "nope": "no"}
    assert {text: small_talk.classify(text) for text in texts} == texts


def test_most_questions_in_other_languages_are_known_as_such_and_no_query_in_english(
    small_talk: SmallTalk, retriever: Retriever, queries: pd.DataFrame
) -> None:
    """Those that a benchmark speaks, which aren't in the data file. Some of the queries have typing errors."""
    spoken = json.loads((PROJECT_ROOT / "benchmarks/languages.json").read_text(encoding="utf-8"))
    found = {name: [small_talk.classify(text, retriever.index) for text in texts] for name, texts in spoken.items()}
    labels = [intent for intents in found.values() for intent in intents]
    assert labels.count("language") >= 0.7 * len(labels)
    assert all("language" in intents for intents in found.values())
    english = queries["query"][queries["split"] == "tune"]
    assert [text for text in english if small_talk.classify(text, retriever.index) == "language"] == []


def test_a_story_is_never_small_talk(small_talk: SmallTalk) -> None:
    assert small_talk.classify("thank you " * 8) is None


def test_each_intent_has_a_reply(small_talk: SmallTalk) -> None:
    assert set(small_talk.intents) == {*replies.SMALL_TALK, "repeat", "slower"}
