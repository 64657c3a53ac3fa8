"""What the assistant says. Its sentences are in `data/replies.toml` and have the names that they have there."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

from faqlab.conversation import PERSON
from faqlab.decision import Reason
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.retriever import Answer
from faqlab.settings import PROJECT_ROOT, settings
from faqlab.text import plain_text, read_text

FILE = PROJECT_ROOT / "data/replies.toml"
try:
    SAY: Any = SimpleNamespace(**tomllib.loads(read_text(FILE, "restore it from the repository")))
except tomllib.TOMLDecodeError as error:
    raise FaqlabError(f"{FILE}: not TOML ({error}); fix it, or restore it from the repository.") from None
SAY.SMALL_TALK |= {"unclear": SAY.SAY_AGAIN, "language": SAY.ENGLISH_ONLY}


def __getattr__(name: str) -> Any:
    return getattr(SAY, name)


def small_talk(intent: str, last: str = "") -> str:
    """Return the reply to small talk; for "repeat" and "slower" it's *last*, the assistant's previous reply."""
    if intent in ("repeat", "slower"):
        return last or SAY.SAY_AGAIN
    return f"{SAY.SMALL_TALK[intent]} {contact()}" if intent in PERSON else SAY.SMALL_TALK[intent]


def contact() -> str:
    """Return the owner's sentence on how to reach a person (`FAQLAB_CONTACT`), or one that says that there is none."""
    return plain_text(settings().contact or SAY.NO_CONTACT)


def reply(answer: Answer, faqs: FaqSet) -> str:
    """Return what the assistant says: an entry's answer, a clarifying question, or that it has no answer."""
    if answer.answered:
        both = answer.reason is Reason.TWO_QUESTIONS
        found = " ".join(plain_text(hit.faq.answer) for hit in (answer.hits if both else answer.hits[:1]))
        return f"{SAY.ONE_OF_TWO} {found} {SAY.OTHER_QUESTION}" if both and len(answer.hits) == 1 else found
    if answer.reason is Reason.UNRESOLVED:
        return f"{SAY.UNRESOLVED} {contact()}"
    said: dict[str, str] = {
        Reason.AMBIGUOUS: clarifying_question(answer.choices),
        Reason.NO_CHOICE: f"{SAY.NOT_UNDERSTOOD} {clarifying_question(answer.choices)}",
        Reason.BELOW_THRESHOLD: decline(faqs),
        Reason.NO_WORDS: SAY.SAY_AGAIN,
        Reason.REJECTED: SAY.REJECTED,
    }
    return said[answer.reason]


def clarifying_question(choices: Sequence[str]) -> str:
    """
    Return the question that offers two or three *choices*, numbered, in the FAQ's own words.

    If they all begin with the same three or more words, these are said once: "Can I return … One: sale items? Two: …".
    """
    words = [choice.rstrip("?!. ").split() for choice in choices]
    shared = [*takewhile(lambda column: len({*column}) == 1, zip(*words, strict=False))]
    start = len(shared) if 3 <= len(shared) < min(map(len, words)) else 0
    numbered = zip(("One", "Two", "Three"), words, strict=False)
    asked = [SAY.WHICH, *([*words[0][:start], "…"] if start else [])]
    return " ".join([*asked, *(f"{number}: {' '.join(choice[start:])}?" for number, choice in numbered)])


def decline(faqs: FaqSet) -> str:
    """Return the sentences that decline and name the FAQ's three largest categories, if it has any."""
    topics = [name for name, _ in Counter(faq.category for faq in faqs if faq.category).most_common(3)]
    listed = " and ".join(filter(None, [", ".join(topics[:-1]), *topics[-1:]]))
    return " ".join([SAY.DECLINED, *([SAY.OTHER_TOPICS.replace("{}", listed)] if listed else [])])


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
