"""One caller's turns: what was asked back is remembered, and the reply understood."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import pytest
from conftest import WriteFaqs

from faqlab import dialogue
from faqlab.dialogue import Dialogue, ask_back, decline
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import RetrievalConfig, Retriever

FAQS = [
    ("Can I return a sale item?", "Sale items: within 14 days."),
    ("Can I return a gift?", "Gifts: we give a voucher."),
    ("How do I pay?", "By card."),
    ("Do you ship abroad?", "Yes, to forty countries."),
]
SALE, GIFT, PAY, ABROAD = (question for question, _ in FAQS)


@pytest.fixture
def retriever(write_faqs: WriteFaqs, encoder: Encoder, tmp_path: Path) -> Retriever:
    config = RetrievalConfig(scale=20.0, none=0.35, decline_below=0.5, answer_from=0.75)
    return Retriever.build(FaqSet.load(write_faqs(FAQS)), config, encoder=encoder, cache_dir=tmp_path)


@pytest.fixture
def asked_back(retriever: Retriever) -> Dialogue:
    dialogue = Dialogue(retriever)
    back = dialogue.ask("can I return it?")
    assert back.outcome == "ask_back"
    assert set(back.choices) == {SALE, GIFT}
    return dialogue


def choices(dialogue: Dialogue) -> tuple[str, ...]:
    return copy(dialogue).retriever.answer("can I return it?").choices


@pytest.mark.parametrize("reply", ["The first.", "the first one", "Number one please", "um, the former", "1"])
def test_the_first_is_the_first_that_was_offered(asked_back: Dialogue, reply: str) -> None:
    expected = choices(asked_back)[0]
    answer = asked_back.ask(reply)
    assert (answer.outcome, answer.hits[0].faq.question, answer.hits[0].rank) == ("answer", expected, 1)
    assert answer.choices == ()


@pytest.mark.parametrize("reply", ["The second one.", "second", "the last", "the latter, please", "two"])
def test_the_second_and_the_last_are_the_second_of_two(asked_back: Dialogue, reply: str) -> None:
    expected = choices(asked_back)[1]
    assert asked_back.ask(reply).hits[0].faq.question == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("the gift one", GIFT),
        ("a gift", GIFT),
        ("No, the gift.", GIFT),
        ("it was in the sale", SALE),
        ("the sale one please", SALE),
        ("it's a present that I got from my aunt", GIFT),
        ("it was reduced", SALE),
        ("not the gift, the sale one", SALE),
    ],
)
def test_a_word_says_which(asked_back: Dialogue, reply: str, expected: str) -> None:
    answer = asked_back.ask(reply)
    assert (answer.outcome, answer.hits[0].faq.question) == ("answer", expected)


@pytest.mark.parametrize(
    "reply", ["Neither.", "none of them", "no", "No, thank you.", "something else", "not those, neither"]
)
def test_neither_is_declined_and_offers_nothing_again(asked_back: Dialogue, reply: str) -> None:
    answer = asked_back.ask(reply)
    assert (answer.outcome, answer.choices) == ("decline", ())


@pytest.mark.parametrize(
    ("reply", "expected"), [("How do I pay?", PAY), ("Oh, and do you ship things abroad?", ABROAD)]
)
def test_a_question_of_its_own_is_answered_instead(asked_back: Dialogue, reply: str, expected: str) -> None:
    answer = asked_back.ask(reply)
    assert (answer.outcome, answer.hits[0].faq.question) == ("answer", expected)


@pytest.mark.parametrize(
    "reply",
    [
        "What is the capital of France?",
        "I hate you.",
        "Tell me a joke about penguins.",
        "Who won the chess tournament?",
        "pizza",
    ],
)
def test_what_is_out_of_scope_chooses_nothing_and_keeps_its_own_outcome(asked_back: Dialogue, reply: str) -> None:
    answer = asked_back.ask(reply)
    assert answer.outcome == "decline"
    assert answer.confidence == asked_back.retriever.answer(reply).confidence < 0.5


def test_a_choice_is_as_sure_as_the_question_that_it_makes_clear(asked_back: Dialogue) -> None:
    sure = asked_back.retriever.answer("can I return it?").confidence
    assert asked_back.retriever.answer("the first").confidence != sure
    assert asked_back.ask("the first").confidence == sure


@pytest.mark.parametrize("reply", ["Yes.", "both", "the first or the second", "Sorry?", "I don’t know", "not the gift"])
def test_what_says_nothing_is_asked_again(asked_back: Dialogue, reply: str) -> None:
    again = asked_back.ask(reply)
    assert (again.outcome, again.choices, again.query) == ("ask_back", choices(asked_back), reply)
    assert asked_back.ask("the gift one").hits[0].faq.question == GIFT


def test_who_turns_all_down_and_asks_something_else_is_answered(asked_back: Dialogue) -> None:
    answer = asked_back.ask("Neither, how do I pay?")
    assert (answer.outcome, answer.hits[0].faq.question) == ("answer", PAY)


@pytest.mark.parametrize("reply", ["the first time it broke", "one moment", "I had two penguins"])
def test_a_number_among_other_words_is_no_choice(asked_back: Dialogue, reply: str) -> None:
    assert asked_back.ask(reply).outcome == asked_back.retriever.answer(reply).outcome != "answer"


def test_a_number_in_the_question_asked_again_is_no_choice(retriever: Retriever) -> None:
    dialogue = Dialogue(retriever)
    back = dialogue.ask("can I return two of it?")
    assert back.outcome == "ask_back"
    assert dialogue.ask("can I return two of it").choices == back.choices
    assert dialogue.ask("return the second one").hits[0].faq.question == back.choices[1]


def test_a_question_back_is_forgotten_after_the_reply(asked_back: Dialogue) -> None:
    asked_back.ask("the first")
    assert asked_back.ask("the second").outcome != "answer"


def test_looking_ahead_on_a_copy_changes_nothing(asked_back: Dialogue) -> None:
    expected = choices(asked_back)[1]
    copy(asked_back).ask("the first")
    assert asked_back.ask("the second").hits[0].faq.question == expected


def test_two_callers_do_not_hear_each_others_choices(asked_back: Dialogue, retriever: Retriever) -> None:
    assert Dialogue(retriever).ask("the first").outcome != "answer"


def test_the_question_back_offers_the_choices_in_their_own_words() -> None:
    assert ask_back(("How do I pay?", "Pay abroad.")) == "Do you mean: How do I pay? Or: Pay abroad?"


def test_a_decline_says_what_the_faq_can_help_with() -> None:
    def faqs(*categories: str) -> FaqSet:
        return FaqSet(tuple(Faq(str(n), f"{n}?", "Yes.", category) for n, category in enumerate(categories)))

    assert "help with" not in decline(faqs("", ""))
    assert " I can help with returns. " in decline(faqs("returns", ""))
    assert " I can help with returns and orders. " in decline(faqs("orders", "returns", "returns"))
    assert " a, b, c and d. " in decline(faqs(*"aaabbbccdde"))


def test_the_reply_is_the_answer_or_both_the_question_back_or_neither(retriever: Retriever) -> None:
    def replied(query: str) -> str:
        return dialogue.reply(retriever.answer(query), retriever.faqs)

    assert replied("How do I pay?") == "By card."
    assert replied("How do I pay? And do you ship abroad?") in (
        "By card. Yes, to forty countries.",
        "Yes, to forty countries. By card.",
    )
    assert replied("can I return it?").startswith("Do you mean: Can I return a")
    assert replied("Who won the chess match?") == decline(retriever.faqs)
