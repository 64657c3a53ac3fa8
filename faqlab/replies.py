"""Every sentence that the assistant speaks; replies to small talk stand beside its phrasings, in the data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from faqlab.conversation import PERSON
from faqlab.decision import Reason
from faqlab.faqs import FaqSet
from faqlab.retriever import Answer
from faqlab.settings import settings
from faqlab.small_talk import PHRASINGS
from faqlab.text import plain_text, read_text

GREETING = "Hello! I answer questions from our FAQ. What would you like to know?"
STILL_THERE = ("Are you still there? Just ask your question.", "I can't hear you. Is your microphone on?")
STILL_TYPING = ("Are you still there? Just type your question.",)
FAREWELL = "It seems that nobody is there, so I'll hang up now. Call again any time. Goodbye!"
CUT_OFF = "I'm sorry, we were cut off. What would you like to know?"
TIME_IS_UP = "I'm sorry, this call has reached its longest time, so I'll hang up now. Call again any time. Goodbye!"
GIVE_UP = "I'm sorry, something keeps going wrong on my side. Please call again later. Goodbye!"
TYPE_LESS = "That's too long for me. Please type your question in fewer words."
TYPE_SLOWER = "That was a lot at once. Please wait a moment before you type again."
SORRY = "I'm sorry, something went wrong on my side. Please ask me again."
SAY_AGAIN = "Sorry, I didn't catch that. Could you say it again?"
HOLD = "One moment, please."
APOLOGY = "I'm having a technical problem, so I may sound a bit different from now on."
INVITATION = "How can I help?"
GO_ON = "Shall I go on?"
NO_CONTACT = "I don't have a phone number or address to give you, I'm afraid. What else would you like to know?"
ONE_OF_TWO = "I can only answer one of those."
OTHER_QUESTION = "And please ask me your other question again."
ENGLISH_ONLY = "I'm sorry, I couldn't make that out. I only understand English. Could you say it again?"
TOO_LONG = "Sorry, I haven't caught your question yet. Please ask me in one short sentence."

SMALL_TALK: dict[str, str] = json.loads(read_text(PHRASINGS, "restore it from the repository"))["replies"]
"""Replies by intent. The intents "repeat" and "slower" have none, as the last reply is said again."""


def small_talk(intent: str, last: str = "") -> str:
    """Return the reply to small talk; for "repeat" and "slower" it's *last*, the assistant's previous reply."""
    if intent in ("repeat", "slower"):
        return last or SAY_AGAIN
    return f"{SMALL_TALK[intent]} {contact()}" if intent in PERSON else SMALL_TALK[intent]


def contact() -> str:
    """Return the owner's sentence on how to reach a person (`FAQLAB_CONTACT`), or one that says that there is none."""
    return plain_text(settings().contact or NO_CONTACT)


def reply(answer: Answer, faqs: FaqSet) -> str:
    """Return what the assistant says: an entry's answer, a clarifying question, or that it has no answer."""
    match answer.reason:
        case Reason.TWO_QUESTIONS:
            found = " ".join(plain_text(hit.faq.answer) for hit in answer.hits)
            return found if len(answer.hits) > 1 else f"{ONE_OF_TWO} {found} {OTHER_QUESTION}"
        case Reason.AMBIGUOUS:
            return clarifying_question(answer.choices)
        case Reason.NO_CHOICE:
            return f"Sorry, I didn't get that. {clarifying_question(answer.choices)}"
        case Reason.BELOW_THRESHOLD:
            return decline(faqs)
        case Reason.UNRESOLVED:
            return f"I'm sorry that I can't help with that. {contact()}"
        case Reason.NO_WORDS:
            return SAY_AGAIN
        case Reason.REJECTED:
            return "All right. What would you like to know instead?"
        case _:
            return plain_text(answer.hits[0].faq.answer)


def clarifying_question(choices: Sequence[str]) -> str:
    """
    Return the question that offers two or three *choices*, numbered, in the FAQ's own words.

    If they all begin with the same three or more words, these are said once: "Can I return … One: sale items? Two: …".
    """
    words = [choice.rstrip("?!. ").split() for choice in choices]
    shared = [*takewhile(lambda column: len({*column}) == 1, zip(*words, strict=False))]
    start = len(shared) if 3 <= len(shared) < min(map(len, words)) else 0
    numbered = zip(("One", "Two", "Three"), words, strict=False)
    asked = ["Which one do you mean?", *([*words[0][:start], "…"] if start else [])]
    return " ".join([*asked, *(f"{number}: {' '.join(choice[start:])}?" for number, choice in numbered)])


def decline(faqs: FaqSet) -> str:
    """Return the sentences that decline and name the FAQ's three largest categories, if it has any."""
    topics = [name for name, _ in Counter(faq.category for faq in faqs if faq.category).most_common(3)]
    listed = " and ".join(filter(None, [", ".join(topics[:-1]), *topics[-1:]]))
    offer = f" I can answer other questions, for example about {listed}." if listed else ""
    return f"Sorry, our FAQ doesn't cover that.{offer}"


def tool_result(answer: Answer, faqs: FaqSet) -> dict[str, Any]:
    """Return what the model gets, ready for JSON; `say` is empty if the model should phrase the answer itself."""
    model_words_it = answer.answered and answer.reason not in (Reason.CHOSEN, Reason.TWO_QUESTIONS)
    return {
        "status": answer.outcome.value,
        "reason": answer.reason.value,
        "say": "" if model_words_it else reply(answer, faqs),
        # Always there: Gemini repeats a call whose result is empty.
        "answers": [{"question": hit.faq.question, "answer": hit.faq.answer} for hit in answer.hits],
        "choices": list(answer.choices),
    }
