"""What a clarifying question makes of the caller's next words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import CountingEncoder

from faqlab.config import RetrievalConfig
from faqlab.conversation import Conversation, position
from faqlab.decision import Reason
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Answer, Retriever
from faqlab.settings import RETRIEVAL
from faqlab.small_talk import SmallTalk

SALE, GIFT = "Can I return a sale item?", "Can I return a gift?"
PAY, ABROAD = "How do I pay?", "Do you ship abroad?"
FAQS = FaqSet(
    (
        Faq("0", SALE, "Sale items: within 14 days."),
        Faq("1", GIFT, "Gifts: we give a voucher."),
        Faq("2", PAY, "By card."),
        Faq("3", ABROAD, "Yes, to forty countries."),
    )
)
CONTACT = Faq("4", "How can I contact customer service?", "Call us.")
CONFIG = RetrievalConfig(scale=20.0, null_cosine=0.35, decline_below=0.5, answer_from=0.75)


@pytest.fixture(scope="module")
def returns(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    return Retriever.build(FAQS, CONFIG, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def conversation(returns: Retriever, small_talk: SmallTalk) -> Conversation:
    return Conversation(returns, small_talk)


@pytest.fixture
def choices(conversation: Conversation) -> tuple[str, ...]:
    """The choices of the clarifying question that *conversation* has just put."""
    answer = conversation.ask("can I return it?")
    assert (answer.outcome, answer.reason, set(answer.choices)) == ("clarify", "ambiguous", {SALE, GIFT})
    return answer.choices


@pytest.fixture(scope="module")
def shop(ecommerce: FaqSet) -> Conversation:
    """A conversation by the committed configuration; each of its tests starts with a new question."""
    retriever = Retriever.build(ecommerce, RetrievalConfig.load(RETRIEVAL))
    return Conversation(retriever, SmallTalk.load(retriever.encoder))


def first(answer: Answer) -> str:
    return answer.hits[0].faq.question


@pytest.mark.parametrize(
    "reply",
    [
        "The first.",
        "the first one",
        "Number one please",
        "One.",
        "um, the former",
        "1",
        "A",
        "the top one",
        "The second, no, the first.",
        "not the second one",
    ],
)
def test_the_first_is_the_first_that_was_offered(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    assert conversation.intent(reply) is None
    answer = conversation.ask(reply)
    assert (answer.outcome, answer.reason, first(answer), answer.choices) == ("answer", "chosen", choices[0], ())
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))


@pytest.mark.parametrize(
    "reply",
    [
        "The second one.",
        "the last",
        "the latter, please",
        "two",
        "Number two.",
        "too",
        "B",
        "the other one",
        "not the first one",
    ],
)
def test_the_second_and_the_last_are_the_second_of_two(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    answer = conversation.ask(reply)
    assert (answer.reason, first(answer)) == ("chosen", choices[1])


@pytest.mark.parametrize(
    ("reply", "count", "chosen", "place"),
    [
        ("the middle one", 3, None, 1),
        ("the third", 3, None, 2),
        ("the third", 2, None, None),
        ("the last one", 3, None, 2),
        ("the first of the two", 2, None, 0),
        ("not the first but the second", 3, None, 1),
        ("I don't mean the second, I mean the third", 3, None, 2),
        ("the first or the second", 2, None, None),
        ("the other one", 2, 1, 0),
        ("the other one", 3, 0, None),
        ("not the first", 3, None, None),
    ],
)
def test_a_position_may_be_corrected_negated_or_unclear(
    reply: str, count: int, chosen: int | None, place: int | None
) -> None:
    assert position(reply, count, chosen) == place


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("the gift one", GIFT),
        ("a gift", GIFT),
        ("No, the gift.", GIFT),
        ("it was in the sale", SALE),
        ("the sale one please", SALE),
        ("it's a present that I got from my aunt", GIFT),
        ("it was half price", SALE),
        ("not the gift, the sale one", SALE),
        ("not the gift", SALE),
    ],
)
def test_a_choice_is_known_by_what_it_is_about(
    conversation: Conversation, choices: tuple[str, ...], reply: str, expected: str
) -> None:
    assert conversation.intent(reply) is None
    answer = conversation.ask(reply)
    assert (answer.reason, first(answer)) == ("chosen", expected)


@pytest.mark.parametrize(
    "reply", ["Neither.", "none of them", "no", "No, thank you.", "something else", "That's not it."]
)
def test_neither_is_declined_and_closes_the_question(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    assert conversation.intent(reply) is None
    answer = conversation.ask(reply)
    assert (answer.outcome, answer.reason, answer.choices) == ("decline", "rejected", ())
    assert conversation.intent("the first") == "choice"


@pytest.mark.parametrize(
    "reply", ["Yes.", "okay", "both", "the first or the second", "I don’t know", "um", "the third"]
)
def test_a_reply_that_chooses_nothing_gets_the_question_again(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    assert conversation.intent(reply) is None
    answer = conversation.ask(reply)
    assert (answer.outcome, answer.reason, answer.choices, answer.query) == ("clarify", "no_choice", choices, reply)
    assert first(conversation.ask("the gift one")) == GIFT


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("How do I pay?", PAY), ("Oh, and do you ship things abroad?", ABROAD), ("Neither, how do I pay?", PAY)],
)
def test_a_new_question_is_answered_instead(
    conversation: Conversation, choices: tuple[str, ...], reply: str, expected: str
) -> None:
    answer = conversation.ask(reply)
    assert (answer.reason, first(answer), answer.query) == ("confident", expected, reply)


@pytest.mark.parametrize(
    "reply", ["What is the capital of France?", "Tell me about penguins.", "Who won the chess match?"]
)
def test_a_question_out_of_scope_chooses_nothing(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    assert conversation.ask(reply).reason == "below_threshold"


@pytest.mark.parametrize(
    ("text", "intent"),
    [("Can you repeat that?", "repeat"), ("never mind", "stop"), ("one second", "wait"), ("Are you a robot?", "robot")],
)
def test_small_talk_leaves_the_clarifying_question_open(
    conversation: Conversation, choices: tuple[str, ...], text: str, intent: str
) -> None:
    assert conversation.intent(text) == intent
    assert first(conversation.ask("the second")) == choices[1]


def test_after_a_choice_the_other_one_can_still_be_named(conversation: Conversation, choices: tuple[str, ...]) -> None:
    assert first(conversation.ask("the second one")) == choices[1]
    assert first(conversation.ask("and the other one?")) == choices[0]
    assert conversation.intent("yes") == "yes"
    assert first(conversation.ask("How do I pay?")) == PAY
    assert conversation.intent("the other one") == "choice"


def test_a_choice_by_position_is_as_sure_as_its_question_and_looks_nothing_up(
    counting: CountingEncoder, small_talk: SmallTalk, tmp_path: Path
) -> None:
    conversation = Conversation(Retriever.build(FAQS, CONFIG, encoder=counting, cache_dir=tmp_path), small_talk)
    asked = conversation.ask("can I return it?")
    counting.texts.clear()
    assert conversation.ask("the first").confidence == asked.confidence
    assert counting.texts == []


def test_a_peek_remembers_nothing(conversation: Conversation, choices: tuple[str, ...]) -> None:
    assert first(conversation.peek("the first")) == choices[0]
    assert conversation.peek("How do I pay?").reason == "confident"
    assert first(conversation.ask("the second")) == choices[1]


def test_two_callers_have_nothing_in_common(
    conversation: Conversation, choices: tuple[str, ...], small_talk: SmallTalk
) -> None:
    other = Conversation(conversation.retriever, small_talk)
    assert other.intent("the first") == "choice"
    assert not other.ask("the first").answered


def test_who_wants_a_person_gets_the_contact_entry_if_there_is_one(
    conversation: Conversation, small_talk: SmallTalk, encoder: Encoder, tmp_path: Path
) -> None:
    with_contact = FaqSet((*FAQS.entries, CONTACT))
    reachable = Conversation(Retriever.build(with_contact, CONFIG, encoder=encoder, cache_dir=tmp_path), small_talk)
    for text in ("Put me through to a real person", "operator please"):
        assert conversation.intent(text) == "human"
        assert reachable.intent(text) is None
        answer = reachable.ask(text)
        assert (answer.query, first(answer)) == (text, CONTACT.question)


@pytest.mark.parametrize(
    ("question", "reply", "words"),
    [
        ("can I return it", "it was reduced", "in the sale"),
        ("can I return it", "it's got my name on it", "personalised"),
        ("can I return it", "not the sale one, the electronics", "electronics"),
        ("can I return shoes that do not fit", "the middle one", "another size"),
        ("can I return shoes that do not fit", "too", "another size"),
        ("my account", "the other one", "need an account"),
        ("my account", "not the first one", "need an account"),
    ],
)
def test_a_choice_from_the_shop(shop: Conversation, question: str, reply: str, words: str) -> None:
    assert shop.ask(question).reason == "ambiguous"
    assert shop.intent(reply) is None
    answer = shop.ask(reply)
    assert answer.reason == "chosen"
    assert words in first(answer)


@pytest.mark.parametrize("text", ["let me get a pen", "hold on a second", "are you still there", "I do not understand"])
def test_a_remark_to_the_shop_is_not_looked_up(shop: Conversation, text: str) -> None:
    assert shop.intent(text) in ("wait", "hearing", "repeat")


@pytest.mark.parametrize("text", ["can I talk to a human", "representative"])
def test_the_shop_says_how_to_reach_a_person(shop: Conversation, text: str) -> None:
    assert shop.intent(text) is None
    assert first(shop.ask(text)) == "How and when can I reach customer service?"


def test_no_query_to_the_shop_is_small_talk(shop: Conversation, queries: pd.DataFrame) -> None:
    answerable = queries[(queries["split"] == "tune") & queries["relevant"].map(bool)]
    assert [text for text in answerable["query"] if shop.intent(text)] == []


@pytest.mark.parametrize("opening", ["can I return it", "my account", "can I return shoes that do not fit"])
def test_after_a_clarifying_question_other_questions_are_looked_up(
    opening: str, shop: Conversation, queries: pd.DataFrame
) -> None:
    conversation = Conversation(shop.retriever, shop.small_talk)
    offer = conversation.ask(opening)
    offered = {hit.faq.id for hit in offer.hits[: len(offer.choices)]}
    others = queries[(queries["split"] == "tune") & ~queries["relevant"].map(offered.intersection).map(bool)]
    chosen = [query for query in others["query"] if conversation.peek(query).reason is Reason.CHOSEN]
    assert len(chosen) <= 0.06 * len(others), chosen
