"""What the assistant says for each outcome and reason."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from faqlab import replies
from faqlab.decision import Outcome, Reason
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Answer, Hit
from faqlab.settings import PROJECT_ROOT, settings

PAY = Faq("pay", "How do I pay?", "By card.", "payments")
ABROAD = Faq("abroad", "Do you ship abroad?", "Yes, to forty countries.", "shipping")
FAQS = FaqSet((PAY, ABROAD))
HITS = (Hit(PAY, 0.5, 0.6), Hit(ABROAD, 0.9, 0.3))
ANSWER = Answer("how", Outcome.ANSWER, Reason.CONFIDENT, HITS, 0.9, {})
CLARIFY = replace(ANSWER, outcome=Outcome.CLARIFY, reason=Reason.AMBIGUOUS, choices=(PAY.question, ABROAD.question))


def declined(reason: Reason) -> Answer:
    return replace(ANSWER, outcome=Outcome.DECLINE, reason=reason)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ANSWER, "By card."),
        (replace(ANSWER, reason=Reason.UNCALIBRATED), "By card."),
        (replace(ANSWER, reason=Reason.CHOSEN), "By card."),
        (CLARIFY, "Which one do you mean? One: How do I pay? Two: Do you ship abroad?"),
        (
            replace(CLARIFY, reason=Reason.NO_CHOICE),
            "Sorry, I didn't get that. Which one do you mean? One: How do I pay? Two: Do you ship abroad?",
        ),
        (
            declined(Reason.BELOW_THRESHOLD),
            "Sorry, our FAQ doesn't cover that. I can answer other questions, for example about payments and shipping.",
        ),
        (declined(Reason.NO_WORDS), "Sorry, I didn't catch that. Could you say it again?"),
        (declined(Reason.REJECTED), "All right. What would you like to know instead?"),
    ],
)
def test_each_reason_has_its_words(answer: Answer, said: str) -> None:
    assert replies.reply(answer, FAQS) == said


def test_choices_are_numbered_and_keep_their_words_and_order() -> None:
    question = replies.clarifying_question(("Pay abroad.", "How do I pay?", "Who?"))
    assert question == "Which one do you mean? One: Pay abroad? Two: How do I pay? Three: Who?"


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (
            ("Can I return sale items?", "Can I return a gift?", "Can I return it without a receipt?"),
            "Can I return … One: sale items? Two: a gift? Three: it without a receipt?",
        ),
        (("How do I pay?", "How do I order?"), "How do I … One: pay? Two: order?"),
        (("Do you ship abroad?", "Do you sell shoes?"), "One: Do you ship abroad? Two: Do you sell shoes?"),
        (("Can I return?", "Can I return a gift?"), "One: Can I return? Two: Can I return a gift?"),
    ],
)
def test_the_words_that_all_choices_begin_with_are_said_once(choices: tuple[str, ...], said: str) -> None:
    assert replies.clarifying_question(choices) == f"Which one do you mean? {said}"


def test_two_questions_get_two_answers_or_one_and_an_invitation() -> None:
    two, one = (replace(ANSWER, reason=Reason.TWO_QUESTIONS, hits=hits) for hits in (HITS, HITS[:1]))
    assert replies.reply(two, FAQS) == replies.tool_result(two, FAQS)["say"] == "By card. Yes, to forty countries."
    assert replies.reply(one, FAQS) == f"{replies.ONE_OF_TWO} By card. {replies.OTHER_QUESTION}"


@pytest.mark.parametrize(
    ("categories", "end"),
    [
        ("", "our FAQ doesn't cover that."),
        ("a", " I can answer other questions, for example about a."),
        ("abb", " for example about b and a."),
        ("aaabbbccd", " for example about a, b and c."),
    ],
)
def test_a_decline_names_the_three_most_frequent_categories(categories: str, end: str) -> None:
    uncategorised = FaqSet((replace(PAY, category=""),))
    entries = tuple(replace(PAY, id=str(n), category=category) for n, category in enumerate(categories))
    assert replies.decline(FaqSet(entries) if entries else uncategorised).endswith(end)


@pytest.mark.parametrize("answer", [ANSWER, CLARIFY, declined(Reason.NO_WORDS)])
def test_the_tool_result_always_has_the_best_entries(answer: Answer) -> None:
    result = json.loads(json.dumps(replies.tool_result(answer, FAQS)))
    assert [entry["answer"] for entry in result["answers"]] == [PAY.answer, ABROAD.answer]
    assert (result["status"], result["reason"]) == (answer.outcome, answer.reason)
    assert result["choices"] == list(answer.choices)


def test_the_model_words_an_answer_itself_unless_the_caller_chose_it() -> None:
    assert replies.tool_result(ANSWER, FAQS)["say"] == ""
    assert replies.tool_result(replace(ANSWER, reason=Reason.CHOSEN), FAQS)["say"] == "By card."
    assert replies.tool_result(CLARIFY, FAQS)["say"].startswith("Which one do you mean? ")


@pytest.mark.parametrize("intent", ["repeat", "slower"])
def test_to_repeat_is_to_say_the_last_reply_again(intent: str) -> None:
    assert replies.small_talk(intent, "By card.") == "By card."
    assert replies.small_talk(intent) == replies.SAY_AGAIN
    assert replies.small_talk("thanks", "By card.") == "You're welcome. Is there anything else?"


def test_who_wants_a_person_hears_what_the_owner_has_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    unresolved = declined(Reason.UNRESOLVED)
    said = [replies.small_talk("human"), replies.small_talk("angry"), replies.reply(unresolved, FAQS)]
    assert all(text.endswith(replies.NO_CONTACT) for text in said)
    settings.cache_clear()
    monkeypatch.setenv("FAQLAB_CONTACT", " Call us on 0117 496 0123. ")
    assert replies.small_talk("human").endswith(" to a person. Call us on 0117 496 0123.")
    assert replies.reply(unresolved, FAQS).endswith(" Call us on 0117 496 0123.")
    settings.cache_clear()
    monkeypatch.setenv("FAQLAB_CONTACT", '<p>Call <b>us</b> on <a href="tel:1">0117 496 0123</a>.</p>')
    assert replies.contact() == "Call us on 0117 496 0123."
    settings.cache_clear()


def test_markup_is_not_spoken() -> None:
    marked = replace(PAY, answer="<p>By <b>card</b></p>\n\n- or *cash*")
    hits = (replace(HITS[0], faq=marked), HITS[1])
    assert replies.reply(replace(ANSWER, hits=hits), FAQS) == "By card.\nor cash."
    two = replace(ANSWER, reason=Reason.TWO_QUESTIONS, hits=hits)
    assert replies.reply(two, FAQS) == "By card.\nor cash. Yes, to forty countries."
    assert replies.tool_result(replace(ANSWER, hits=hits), FAQS)["answers"][0]["answer"] == marked.answer


def test_each_sentence_that_is_named_is_there_and_each_that_is_there_is_named() -> None:
    files = (PROJECT_ROOT / "faqlab").rglob("*.py")
    code = "".join(path.read_text() for path in files if "node_modules" not in path.parts)
    named = {*re.findall(r"\b(?:replies|SAY)\.([A-Z_]+)\b", code)}
    assert named == vars(replies.SAY).keys()
