"""A conversation's memory: the assistant may have asked back, and the next words may be a choice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from faqlab.decision import Outcome
from faqlab.faqs import FaqSet
from faqlab.retriever import Answer, Hit, Retriever

ORDINALS = (
    re.compile(r"\b(?:first|former|one|1|1st)\b", re.IGNORECASE),
    re.compile(r"\b(?:second|two|2|2nd)\b", re.IGNORECASE),
    re.compile(r"\b(?:third|three|3|3rd)\b", re.IGNORECASE),
)
LAST = re.compile(r"\b(?:last|latter)\b", re.IGNORECASE)
# "one" names the first only where no other word says which: "the second one", "the gift one".
LOOSE_ONE = re.compile(r"\b(?:the|this|that|which)?\s*(\w+)\s+one\b", re.IGNORECASE)
NEITHER = re.compile(
    r"^\W*(?:no|nope|neither|none)\b(?:\W+(?:of|them|those|these|that|thanks|thank you|either|not))*\W*$"
    r"|\b(?:neither|none of (?:them|those|these|that))\b|\bsomething else\b",
    re.IGNORECASE,
)
FEW_WORDS = 6
MOST_TOPICS = 4


def ask_back(choices: Sequence[str]) -> str:
    """
    Return the question that offers the *choices* of an `Answer`, for eye and ear.

    They are said in the FAQ's own words: cut and joined by rule they read worse, and on half of our FAQs wrong.
    """
    return "Do you mean: " + " Or: ".join(f"{choice.rstrip('?!. ')}?" for choice in choices)


def decline(faqs: FaqSet) -> str:
    """Return the words that own up to not knowing, and say what *faqs* can help with, where they have categories."""
    known = Counter(faq.category for faq in faqs if faq.category)
    *others, last = [name for name, _ in known.most_common(MOST_TOPICS)] or [""]
    topics = f"{', '.join(others)} and {last}" if others else last
    helps = f" I can help with {topics}." if topics else ""
    return f"I'm sorry, I don't know that: our FAQ does not say.{helps} What else would you like to know?"


@dataclass(frozen=True)
class _AskedBack:
    query: str
    choices: tuple[Hit, ...]


class Dialogue:
    """
    One caller's turns over one retriever. Not shared between callers.

    Attributes:
        retriever: Looks the questions up.
    """

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever
        self._asked_back: _AskedBack | None = None

    def ask(self, query: str) -> Answer:
        """
        Look *query* up, in the light of what was asked back before.

        After an *ask_back*, a reply may name a choice by number ("the first"), by a word of its own ("the gift
        one"), turn all of them down, or be a question of its own.

        Raises:
            FaqlabError: the query holds nothing to look up.
        """
        answer = self.retriever.answer(query)
        if self._asked_back:
            answer = self._as_reply(self._asked_back, answer)
        asked = answer.outcome is Outcome.ASK_BACK
        self._asked_back = _AskedBack(query, answer.hits[: len(answer.choices)]) if asked else None
        return answer

    def _as_reply(self, asked: _AskedBack, answer: Answer) -> Answer:
        """Return what *answer*, found for the reply by itself, becomes as a reply."""
        reply, short = answer.query, len(answer.query.split()) <= FEW_WORDS
        ids = [hit.faq.id for hit in asked.choices]
        found = answer.hits[0].faq.id
        chosen = _by_number(reply, len(ids)) if short else None
        if chosen is None and NEITHER.search(reply):
            return replace(answer, outcome=Outcome.DECLINE, answers=1, choices=())
        if chosen is None and not short and answer.answered and found not in ids:
            return answer  # a question of its own
        if chosen is None and len(reply.split()) <= 2 * FEW_WORDS:
            chosen = _by_word(reply, asked.choices)
        if chosen is None and found in ids and answer.outcome is not Outcome.DECLINE:
            chosen = ids.index(found)
        if chosen is None and short and not answer.answered:  # too little to stand alone: read it with the question
            together = self.retriever.search(f"{asked.query} {reply}", top_k=len(self.retriever.faqs))
            chosen = next(ids.index(hit.faq.id) for hit in together if hit.faq.id in ids)
        if chosen is None:
            return answer
        hits = (asked.choices[chosen], *(hit for hit in asked.choices if hit is not asked.choices[chosen]))
        hits = tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1))
        return replace(answer, outcome=Outcome.ANSWER, hits=hits, answers=1, choices=())


def _by_number(reply: str, choices: int) -> int | None:
    """Return the choice that a short reply names by its place, from 0; None where it names none or several."""
    reply = LOOSE_ONE.sub(r"\1", reply)
    if LAST.search(reply):
        return choices - 1
    named = [place for place, pattern in enumerate(ORDINALS[:choices]) if pattern.search(reply)]
    return named[0] if len(named) == 1 else None


def _by_word(reply: str, choices: tuple[Hit, ...]) -> int | None:
    """Return the choice that shares most words with the reply which no other choice has; None where that is a draw."""
    said = _stems(reply)
    words = [_stems(hit.faq.question) for hit in choices]
    own = [
        len(said & (mine - set().union(*(other for j, other in enumerate(words) if j != i))))
        for i, mine in enumerate(words)
    ]
    best = max(own)
    return own.index(best) if best > 0 and own.count(best) == 1 else None


def _stems(text: str) -> set[str]:
    """Return the words of *text* that say something, without their commonest endings."""
    words = re.findall(r"[a-z']+", text.lower())
    return {re.sub(r"(?:ing|ed|es|s|e)$", "", word) for word in words if len(word) > 2 and word not in _COMMON}


_COMMON = frozenset(
    """a an and the for are can could how what when where which who why does did will would should may have has had you
    your not but with from that this those these one want know need mean please about was were been its it's i'm get
    got""".split()  # noqa: SIM905
)
