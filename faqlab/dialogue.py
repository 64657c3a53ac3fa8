"""A conversation's memory: the assistant may have asked back, and the next words may be a choice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from faqlab.decision import Outcome
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Answer, Retriever

ORDINALS = (
    re.compile(r"\b(?:first|former|one|1|1st)\b", re.IGNORECASE),
    re.compile(r"\b(?:second|two|2|2nd)\b", re.IGNORECASE),
    re.compile(r"\b(?:third|three|3|3rd)\b", re.IGNORECASE),
)
LAST = re.compile(r"\b(?:last|latter)\b", re.IGNORECASE)
# "one" names the first only where no other word says which: "the second one", "the gift one".
LOOSE_ONE = re.compile(r"\b(?!(?:number|option|choice|yes|yeah|um|uh|say|take)\b)(\w+)\s+one\b", re.IGNORECASE)
NEITHER = re.compile(
    r"^\W*(?:no|nope|neither|none)\b(?:\W+(?:no|of|them|those|these|that|thanks|thank you|either|not))*\W*$"
    r"|\b(?:neither|none of (?:them|those|these|that))\b|\bsomething else\b",
    re.IGNORECASE,
)
DENIED = re.compile(r"\bnot (?:the|an?|about|for|in|that|this)\b[^,.;]*", re.IGNORECASE)
QUESTION = re.compile(r"\W*(?:how|what|when|where|who|why|can|could|do|does|did|is|are|will|would)\b", re.IGNORECASE)
FRAGMENT = 3
"""Words of a reply that is no sentence: out of scope by itself ("a sofa"), it may be plain beside the question."""
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


def reply(answer: Answer, faqs: FaqSet) -> str:
    """Return what the caller is told: the answer (both, where two things were asked), the question back, or neither."""
    match answer.outcome:
        case Outcome.ANSWER:
            return " ".join(hit.faq.answer for hit in answer.hits[: answer.answers])
        case Outcome.ASK_BACK:
            return ask_back(answer.choices)
        case Outcome.DECLINE:
            return decline(faqs)


class Dialogue:
    """
    One caller's turns over one retriever. Not shared between callers.

    Attributes:
        retriever: Looks the questions up.
    """

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever
        self._asked_back: Answer | None = None

    def ask(self, query: str) -> Answer:
        """
        Look *query* up, in the light of what was asked back before.

        After an *ask_back*, a reply may name a choice by number ("the first"), by a word of its own ("the gift
        one") or by what makes the question clear ("it was reduced"), or turn all of them down. One that says nothing
        ("yes") is asked again. All others are questions of their own, decided as if nothing had been asked back.

        Raises:
            FaqlabError: the query holds nothing to look up.
        """
        asked, answer = self._asked_back, self.retriever.answer(query)
        if asked:
            answer = self._as_reply(asked, answer)
        if answer.outcome is not Outcome.ASK_BACK:
            self._asked_back = None
        elif not asked or answer.choices != asked.choices:  # asked again, the question stays what it was
            self._asked_back = answer
        return answer

    def _as_reply(self, asked: Answer, answer: Answer) -> Answer:
        """Return what *answer*, found for the reply by itself, becomes as a reply."""
        words = answer.query
        if NEITHER.search(words):
            rest = NEITHER.sub(" ", words)
            if _content(rest):
                return replace(self.retriever.answer(rest), query=words)
            return replace(answer, outcome=Outcome.DECLINE, answers=1, choices=())
        offered = asked.hits[: len(asked.choices)]
        said = DENIED.sub(" ", words)
        place = self._chosen(asked, [hit.faq for hit in offered], said, answer)
        if place is not None:
            hits = (offered[place], *offered[:place], *offered[place + 1 :])
            hits = tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1))
            return replace(
                answer, outcome=Outcome.ANSWER, hits=hits, confidence=asked.confidence, answers=1, choices=()
            )
        return answer if _content(said) else replace(asked, query=words, milliseconds=answer.milliseconds)

    def _chosen(self, asked: Answer, offered: Sequence[Faq], said: str, answer: Answer) -> int | None:
        """Return which of those *offered*, from 0, is meant by what was *said*, for which *answer* was found."""
        words = [_stems(faq.question) for faq in offered]
        known = _stems(asked.query).union(*words)
        place = None
        if _content(said) <= known:  # and so nothing but names
            place = _by_number(_without_repeats(said, asked), len(offered))
            if place is None and not QUESTION.match(said):
                place = _by_word(said, words)
        if place is not None or not _content(said):
            return place
        if answer.answered:
            found = answer.hits[0].faq
        elif answer.outcome is Outcome.DECLINE and len(said.split()) > FRAGMENT:
            return None
        else:
            together = self.retriever.answer(f"{asked.query} {said}")
            if not together.answered:
                return _by_word(said, words)
            found = together.hits[0].faq
        return offered.index(found) if found in offered else None


def _by_number(reply: str, choices: int) -> int | None:
    """Return the choice that a reply names by its place, from 0; None where it names none or several."""
    reply = LOOSE_ONE.sub(r"\1", reply)
    named = {place for place, pattern in enumerate(ORDINALS[:choices]) if pattern.search(reply)}
    if LAST.search(reply):
        named.add(choices - 1)
    return named.pop() if len(named) == 1 else None


def _without_repeats(reply: str, asked: Answer) -> str:
    """Return *reply* without what it repeats: who asks for "two mugs" again has chosen nothing by saying "two"."""
    if not _content(reply):
        return reply
    known = set(re.findall(r"\w+", " ".join([asked.query, *asked.choices]).lower()))
    return " ".join(word for word in re.findall(r"\w+", reply) if word.lower() not in known)


def _by_word(reply: str, choices: Sequence[set[str]]) -> int | None:
    """Return the one choice with which the reply shares a word that no other choice has; None if there is not one."""
    said = _content(reply)
    named = [
        place for place, words in enumerate(choices) if said & words.difference(*choices[:place], *choices[place + 1 :])
    ]
    return named[0] if len(named) == 1 else None


def _content(reply: str) -> set[str]:
    """Return the stems of a reply that are neither numbers of choices nor what people say beside these."""
    return _stems(reply) - _FILLERS


def _stems(text: str) -> set[str]:
    """Return the words of *text* that say something, without their commonest endings."""
    words = re.findall(r"(?:[^\W\d_]|')+", text.lower().replace("’", "'"))
    return {re.sub(r"(?:ing|ed|es|s|e)$", "", word) for word in words if len(word) > 2 and word not in _COMMON}


_COMMON = frozenset(
    """a an and the for are can could how what when where which who why does did will would should may have has had you
    your not but with from that this those these one want know need mean please about was were been its it's i'm get
    got""".split()  # noqa: SIM905
)
_FILLERS = frozenset(
    _stems(
        """yes yeah yep sure okay well just think guess say said take number option choice question thing thank thanks
        sorry pardon repeat again catch hear don't didn't them they both all either maybe let's i'd i'll there
        um uh erm hmm first former 1st second two 2nd third three 3rd last latter""",
    )
)
