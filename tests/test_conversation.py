"""What a clarifying question, or the last question, makes of the caller's next words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import CountingEncoder

from faqlab import replies
from faqlab.config import BASELINE, RetrievalConfig
from faqlab.conversation import Conversation, positions
from faqlab.decision import Outcome, Reason
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
        Faq("3", ABROAD, "Yes, to forty countries. It costs £12 and takes a week."),
    )
)
ENGRAVED = Faq("5", "Can I return an engraved item?", "No, unless it's faulty.")
CONTACT = Faq("4", "How can I contact customer service?", "Call us.")
CONFIG = RetrievalConfig(scale=20.0, null_cosine=0.35, decline_below=0.5, answer_from=0.85)


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
        "hang on, the first",
        "hmm, first maybe",
    ],
)
def test_the_first_is_the_first_that_was_offered(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    assert conversation.intent(reply) is None
    answer = conversation.ask(reply)
    assert (answer.outcome, answer.reason, first(answer), answer.choices) == ("answer", "chosen", choices[0], ())


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
        "um the second I think",
        "no wait the second",
        "let me think, the second one I guess",
    ],
)
def test_the_second_and_the_last_are_the_second_of_two(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    answer = conversation.ask(reply)
    assert (answer.reason, first(answer)) == ("chosen", choices[1])


@pytest.mark.parametrize(
    ("reply", "count", "chosen", "places"),
    [
        ("the middle one", 3, None, {1}),
        ("the third", 3, None, {2}),
        ("the third", 2, None, None),
        ("the last one", 3, None, {2}),
        ("the first of the two", 2, None, {0}),
        ("not the first but the second", 3, None, {1}),
        ("not the first, the second", 3, None, {1}),
        ("I don't mean the second, I mean the third", 3, None, {2}),
        ("the first or the second", 2, None, {0, 1}),
        ("first one, then the second", 2, None, {0}),
        ("the other one", 2, 1, {0}),
        ("the other one", 3, 0, {1, 2}),
        ("not the first", 3, None, {1, 2}),
        ("not the first or the second", 3, None, {2}),
        ("not one or two", 2, None, set()),
        ("neither the first nor the second", 2, None, set()),
        ("the number one", 2, None, {0}),
        ("the time one", 2, None, None),
        ("not the first one and I want the second", 2, None, {1}),
        ("not the first, and I mean the second", 2, None, {1}),
        ("the answer one", 2, None, {0}),
    ],
)
def test_a_position_may_be_corrected_negated_or_unclear(
    reply: str, count: int, chosen: int | None, places: set[int] | None
) -> None:
    assert positions(reply, ["Question?"] * count, chosen) == places


@pytest.mark.parametrize(
    ("reply", "places"),
    [
        ("the first class one", None),
        ("zone two", None),
        ("the second-hand one", None),
        ("is first", {0}),
        ("the second", {1}),
        ("two", {1}),
    ],
)
def test_a_number_in_the_name_of_a_topic_is_no_position(reply: str, places: set[int] | None) -> None:
    choices = ["Can I send this first class?", "Do you deliver to zone two?", "Do you sell second-hand?"]
    assert positions(reply, choices) == places


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
    "reply", ["Neither.", "none of them", "no", "No, thank you.", "not the first or the second", "That's not it."]
)
def test_neither_is_declined_and_closes_the_question(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    assert conversation.intent(reply) is None
    answer = conversation.ask(reply)
    assert (answer.outcome, answer.reason, answer.choices) == ("decline", "rejected", ())
    assert conversation.intent("the first") == "choice"


@pytest.mark.parametrize(
    "reply",
    [
        *("Yes.", "okay", "for", "both", "the first or the second", "one or two", "I don’t know", "um", "the third"),
        *("three", "12", "number four"),
        *("Can I return it", "go on"),
    ],
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
    [
        ("How do I pay?", PAY),
        ("Oh, and do you ship things abroad?", ABROAD),
        ("Neither, how do I pay?", PAY),
        ("How do I pay and do you ship abroad?", PAY),
    ],
)
def test_a_new_question_is_answered_instead(
    conversation: Conversation, choices: tuple[str, ...], reply: str, expected: str
) -> None:
    answer = conversation.ask(reply)
    assert (answer.answered, first(answer), answer.query) == (True, expected, reply)


@pytest.mark.parametrize(
    "reply", ["What is the capital of France?", "Tell me about penguins.", "Who won the chess match?"]
)
def test_a_question_out_of_scope_chooses_nothing(
    conversation: Conversation, choices: tuple[str, ...], reply: str
) -> None:
    assert conversation.ask(reply).reason == "below_threshold"


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Can you repeat that?", "repeat"),
        ("never mind", "stop"),
        ("um, one second I think", "wait"),
        ("Are you a robot?", "robot"),
    ],
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


def test_when_the_question_is_repeated_after_a_choice_it_is_open_again(
    conversation: Conversation, choices: tuple[str, ...]
) -> None:
    assert first(conversation.ask("the second one")) == choices[1]
    assert conversation.ask("one or two").reason == "no_choice"
    assert conversation.intent("yes") is None
    assert conversation.ask("yes").reason == "no_choice"
    assert (first(conversation.ask("the gift one")), conversation.intent("go on")) == (GIFT, "continue")


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


PERSON = ("Put me through to a real person", "operator please", "zero", "I'm sick of this, it's hopeless")


@pytest.fixture(scope="module")
def reachable(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    """A retriever whose FAQ says how to reach a person."""
    faqs = FaqSet((*FAQS.entries, CONTACT))
    return Retriever.build(faqs, CONFIG, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("text", PERSON)
@pytest.mark.parametrize("config", [CONFIG, BASELINE], ids=["calibrated", "everything is answered"])
def test_who_wants_a_person_gets_the_contact_entry_if_there_is_one(
    returns: Retriever, reachable: Retriever, small_talk: SmallTalk, text: str, config: RetrievalConfig
) -> None:
    settings = config.model_dump(exclude={"encoder", "second_encoder", "views"})
    without, conversation = (Conversation(r.with_config(**settings), small_talk) for r in (returns, reachable))
    assert conversation.intent(text) is None
    assert without.intent(text) in ("human", "angry")
    answer = conversation.ask(text)
    assert (answer.query, answer.answered, first(answer)) == (text, True, CONTACT.question)
    assert without.ask(text).reason == "unresolved"


@pytest.mark.parametrize(
    ("again", "reason"),
    [
        ("do you repair old phones", "unresolved"),
        ("I said, could you repair a phone", "unresolved"),
        ("who won the chess match?", "below_threshold"),
    ],
)
def test_the_same_question_declined_twice_leads_to_a_person(
    returns: Retriever, reachable: Retriever, small_talk: SmallTalk, again: str, reason: str
) -> None:
    without, conversation = (Conversation(retriever, small_talk) for retriever in (returns, reachable))
    assert {c.ask("can you repair my phone?").reason for c in (without, conversation)} == {"below_threshold"}
    assert (without.peek(again).reason, without.ask(again).reason) == (reason, reason)
    answer = conversation.ask(again)
    assert (answer.query, answer.answered) == (again, reason == "unresolved")
    assert not answer.answered or first(answer) == CONTACT.question


def test_an_answer_in_between_makes_a_decline_the_first_one(conversation: Conversation) -> None:
    for query in ("can you repair my phone?", "how do I pay?", "do you repair phones?"):
        reason = conversation.ask(query).reason
    assert reason == "below_threshold"


@pytest.mark.parametrize(
    "text", ["how much does that cost", "and how long does it take?", "What if it gets lost?", "and for a big one?"]
)
def test_what_refers_back_is_looked_up_with_the_last_question(conversation: Conversation, text: str) -> None:
    assert first(conversation.ask(text)) != ABROAD or not conversation.ask(text).answered
    conversation.ask("How do I pay?")
    conversation.ask("do you ship things abroad")
    for _ in range(2):  # a follow-up leaves the question that it refers to as it is
        answer = conversation.ask(text)
        assert (answer.query, answer.answered, first(answer)) == (text, True, ABROAD)


@pytest.mark.parametrize(
    ("question", "follow_up", "faq_ids"),
    [
        ("How do I buy a gift card?", "what if I lose it?", ["gift-card-lost", "gift-card-buy"]),
        ("how do I return something", "is that free?", ["return-cost", "start-return"]),
        ("how much is delivery", "and what does it cost abroad?", ["international-delivery", "delivery-cost"]),
        ("how much is delivery", "sorry, how much was that again?", ["delivery-cost"]),
        ("what's your return policy", "how much is it again?", ["return-policy"]),
        ("do you gift wrap", "what does that cost?", ["gift-wrapping"]),
    ],
)
def test_a_follow_up_that_may_mean_another_entry_than_the_one_just_given_is_clarified(
    shop: Conversation, question: str, follow_up: str, faq_ids: list[str]
) -> None:
    conversation = Conversation(shop.retriever, shop.small_talk)
    conversation.ask(question)
    answer = conversation.ask(follow_up)
    assert [hit.faq.id for hit in answer.hits[: max(1, len(answer.choices))]] == faq_ids
    assert answer.reason == ("ambiguous" if answer.choices else "confident")
    assert answer.choices == tuple(shop.retriever.faqs[faq_id].question for faq_id in faq_ids[1:] and faq_ids)
    assert conversation.ask("the first one").hits[0].faq.id == faq_ids[0] or not answer.choices


def test_after_another_question_the_last_one_no_longer_counts(conversation: Conversation, returns: Retriever) -> None:
    conversation.ask("do you ship things abroad")
    answer = conversation.ask("how can I pay?")
    assert answer.hits == returns.answer("how can I pay?").hits
    assert first(conversation.ask("how much does that cost")) == PAY


def test_after_a_choice_a_follow_up_is_about_what_was_chosen(
    conversation: Conversation, choices: tuple[str, ...]
) -> None:
    conversation.ask("the gift one")
    answer = conversation.ask("how long do I have for that?")
    assert (answer.reason, first(answer)) == ("confident", GIFT)


def test_a_question_that_stands_alone_is_all_that_is_encoded(encoder: Encoder, tmp_path: Path) -> None:
    counting = CountingEncoder(encoder, encoder.name, encoder.fingerprint)
    retriever = Retriever.build(FAQS, CONFIG, encoder=counting, cache_dir=tmp_path)
    conversation = Conversation(retriever, SmallTalk.load(counting))
    conversation.ask("do you ship things abroad")
    for text in ("how can I pay?", "Who won the chess match?", "Hello there!"):
        counting.texts.clear()
        assert conversation.intent(text) or conversation.ask(text)
        assert len(set(counting.texts)) == 1, "the encoder computes equal texts in a row once"


@pytest.mark.parametrize(
    "query",
    [
        "How do I pay and do you ship abroad?",
        "how can I pay? Do you ship things abroad?",
        "how do I pay, and also can you ship it abroad",
    ],
)
def test_two_questions_at_once_are_both_answered(conversation: Conversation, query: str) -> None:
    answer = conversation.ask(query)
    assert answer.reason == "two_questions"
    assert (answer.query, len(answer.hits)) == (query, 2)
    assert replies.reply(answer, FAQS) == "By card. Yes, to forty countries. It costs £12 and takes a week."


def test_two_questions_after_a_clarifying_question_are_both_answered(
    conversation: Conversation, choices: tuple[str, ...]
) -> None:
    assert conversation.ask("how do I pay? do you ship abroad?").reason == "two_questions"


@pytest.mark.parametrize("part", ["and ", "? ", "a? ", ",", "\n"])
def test_a_long_question_takes_no_longer_than_its_length(conversation: Conversation, part: str) -> None:
    """A pattern that is quadratic in the text's length would take many minutes, and so run into pytest's timeout."""
    conversation.ask(f"where is {part * 300_000} my parcel")


@pytest.mark.parametrize(
    "query", ["How do I pay and do you repair phones?", "do you have a shop in Paris, and how do I pay?"]
)
def test_of_two_questions_the_one_without_an_answer_is_invited_again(conversation: Conversation, query: str) -> None:
    assert replies.reply(conversation.ask(query), FAQS) == f"{replies.ONE_OF_TWO} By card. {replies.OTHER_QUESTION}"


@pytest.mark.parametrize(
    "query",
    [
        "do you ship abroad and how long does it take",  # one entry answers both
        "do you ship rock and roll records abroad",
        "Can I pay by card and cash?",
        "How do I pay? Thank you very much.",
        "How do I pay? I am in Bristol.",
        "so I've been reading about your shop and I was wondering whether you would ship a small parcel abroad",
    ],
)
def test_one_question_is_not_taken_for_two(conversation: Conversation, query: str) -> None:
    answer = conversation.ask(query)
    assert (answer.answered, answer.reason) == (True, "confident")


def test_where_everything_is_answered_no_question_is_split(returns: Retriever, small_talk: SmallTalk) -> None:
    always = BASELINE.model_dump(exclude={"encoder", "second_encoder", "views"})
    conversation = Conversation(returns.with_config(**always), small_talk)
    assert conversation.ask("How do I pay and do you ship abroad?").reason == "uncalibrated"


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("too", 1),
        ("the middle one", 1),
        ("um, the one in the middle please", 1),
        ("three", 2),
        ("the bottom one", 2),
        ("no, the last one", 2),
        ("not the second, the first", 0),
        ("it has an engraving on it", "engraved"),
        ("I meant the engraved one", "engraved"),
        ("not the sale one, the gift", "gift"),
    ],
)
def test_one_of_three_can_be_chosen(
    encoder: Encoder, small_talk: SmallTalk, tmp_path: Path, reply: str, place: int | str
) -> None:
    faqs, unsure = FaqSet((*FAQS.entries, ENGRAVED)), CONFIG.with_changes(scale=8.0)
    conversation = Conversation(Retriever.build(faqs, unsure, encoder=encoder, cache_dir=tmp_path), small_talk)
    choices = conversation.ask("can I return it?").choices
    assert len(choices) == 3
    expected = choices[place] if isinstance(place, int) else next(text for text in choices if place in text)
    assert conversation.intent(reply) is None
    answer = conversation.ask(reply)
    assert (answer.reason, first(answer)) == ("chosen", expected)


UNSURE = "can I return it?"
Turn = tuple[str, str]  # what the caller says, and the intent, the reason or the entry that is expected


@pytest.mark.parametrize(
    "turns",
    [
        [(UNSURE, "ambiguous"), ("neither of those", "rejected"), ("that's wrong", "complaint")],
        [(UNSURE, "ambiguous"), ("yes", "no_choice"), ("no, not the gift", SALE), ("thanks", "thanks")],
        [(UNSURE, "ambiguous"), ("gift", GIFT), ("no, the other one", SALE), ("that's not right", "complaint")],
        [(UNSURE, "ambiguous"), ("hold on a moment", "wait"), ("say the options again", "repeat"), ("one", SALE)],
        [(UNSURE, "ambiguous"), ("I don't know", "no_choice"), ("no, how do I pay?", PAY), ("the first", "choice")],
        [("can I return a gift?", GIFT), ("I meant a sale item", SALE), ("okay", "acknowledge")],
        [("do you ship abroad", ABROAD), ("the second", "choice"), ("that's not what I asked", "complaint")],
        [("do you ship abroad", ABROAD), ("no", "no"), ("too", "choice"), ("I didn't understand that", "repeat")],
        [
            ("how do I pay", PAY),
            ("are you still there?", "hearing"),
            ("let me find a pen", "wait"),
            ("go on", "continue"),
        ],
    ],
)
def test_short_replies_corrections_and_remarks(conversation: Conversation, turns: list[Turn]) -> None:
    got = []
    for text, _ in turns:
        intent = conversation.intent(text)
        answer = None if intent else conversation.ask(text)
        got.append((text, intent or (answer and (first(answer) if answer.answered else str(answer.reason)))))
    assert got == turns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I want to return it, I do not want another size", "start-return"),
        ("I want my money back and I don't want a voucher", "get-refund"),
        ("I don't need a gift card, I want to wrap a present", "gift-wrapping"),
        ("I don't want a refund, I want another size", "exchange-size"),
        ("I don't want the newsletter", "unsubscribe"),
    ],
)
def test_what_the_caller_does_not_want_is_not_looked_up(shop: Conversation, text: str, expected: str) -> None:
    answer = shop.peek(text)
    assert (answer.query, answer.answered, answer.hits[0].faq.id) == (text, True, expected)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("my order number is four four seven one nine", "reference"),
        ("it's 447193", "reference"),
        ("the middle one", "choice"),
        ("the last", "choice"),
        ("sorry, what?", "repeat"),
        ("could you go a bit slower", "slower"),
        ("keep going", "continue"),
    ],
)
def test_what_is_no_question_to_the_shop_is_not_looked_up(shop: Conversation, text: str, intent: str) -> None:
    conversation = Conversation(shop.retriever, shop.small_talk)
    assert conversation.intent(text) == intent
    conversation.ask("how long does a refund take")
    assert conversation.intent(text) == intent


@pytest.mark.parametrize(
    "text",
    ["order 447193 has not arrived", "order four four seven one nine three has not arrived", "where is order 90213"],
)
def test_a_question_about_a_numbered_order_is_looked_up(shop: Conversation, text: str) -> None:
    assert shop.intent(text) is None
    answer = Conversation(shop.retriever, shop.small_talk).ask(text)
    found = [hit.faq.id for hit in answer.hits[: max(1, len(answer.choices))]]
    assert {"parcel-late", "track-parcel"} & {*found}


@pytest.mark.parametrize("text", ["let me get a pen", "hold on a second", "are you still there", "I do not understand"])
def test_a_remark_to_the_shop_is_not_looked_up(shop: Conversation, text: str) -> None:
    assert shop.intent(text) in ("wait", "hearing", "repeat")


@pytest.mark.parametrize("text", ["can I talk to a human", "representative", "zero", "this is useless, I'm so angry"])
def test_the_shop_says_how_to_reach_a_person(shop: Conversation, text: str) -> None:
    assert shop.intent(text) is None
    assert "call" in shop.ask(text).hits[0].faq.answer or "hone" in shop.ask(text).hits[0].faq.answer


def test_no_query_to_the_shop_is_small_talk(shop: Conversation, queries: pd.DataFrame) -> None:
    answerable = queries[(queries["split"] == "tune") & queries["relevant"].map(bool)]
    assert [text for text in answerable["query"] if shop.intent(text)] == []


def test_after_a_clarifying_question_other_questions_are_looked_up(shop: Conversation, queries: pd.DataFrame) -> None:
    tune = queries[queries["split"] == "tune"]
    ranked = zip(tune["query"], shop.retriever.rank(list(tune["query"])), strict=True)
    for opening in [query for query, ranking in ranked if ranking.outcome is Outcome.CLARIFY][:2]:
        conversation = Conversation(shop.retriever, shop.small_talk)
        offer = conversation.ask(opening)
        offered = {hit.faq.id for hit in offer.hits[: len(offer.choices)]}
        others = tune[~tune["relevant"].map(offered.intersection).map(bool)]
        chosen = [query for query in others["query"] if conversation.peek(query).reason is Reason.CHOSEN]
        assert len(chosen) <= 0.08 * len(others), chosen
