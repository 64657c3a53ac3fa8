"""A conversation's memory: the caller's next words may choose from what was offered, or refer to the last question."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from faqlab.decision import Outcome, Reason
from faqlab.retriever import Answer, Retriever
from faqlab.small_talk import MOST_WORDS, SmallTalk
from faqlab.text import has_words, normalised


class Conversation:
    """One caller's conversation with one retriever."""

    def __init__(self, retriever: Retriever, small_talk: SmallTalk) -> None:
        self.retriever, self.small_talk = retriever, small_talk
        self._offer: Answer | None = None  # the last clarifying question
        self._chosen: int | None = None  # which of its choices was taken, from 0
        self._declined = ""  # the last question, if it was declined
        self._topic = ""  # the last question that stands alone; what the caller says next may refer to it

    def classify(self, text: str) -> str | None:
        """Return the intent of small talk, whatever was said before; None if *text* is nearer to an entry."""
        choosing = self._offer is not None and self._chosen is None
        return self.small_talk.classify(text, self.retriever.index, offered=choosing)

    def intent(self, text: str) -> str | None:
        """Return the intent of small talk; None if *text* must be looked up or answers a clarifying question."""
        intent = self.classify(text)
        if intent in PERSON:
            return intent if self.peek(text).reason is Reason.UNRESOLVED else None
        if intent is None or self._offer is None:  # then the parts needn't be classified, which takes the encoder
            return intent
        is_reply = intent == "choice"
        if self._chosen is None:
            is_reply = intent in REPLIES or "choice" in self._parts(text).values()
        return None if is_reply else intent

    def ask(self, query: str) -> Answer:
        """
        Look *query* up; after a clarifying question, first try to understand it as a choice.

        The caller can choose by number or position ("two", "not the second", "the other one"), by topic ("the gift
        one", "it was reduced"), or reject all choices. After words that choose nothing ("yes"), the question is
        repeated. Anything else is a new question. After a choice, the others can still be chosen by position.

        What refers back ("how much is that?") is looked up together with the last question that stands alone, and two
        questions at once one by one. Who wants a person gets the way to reach one. FaqlabError if *query* is blank.
        """
        answer = self.peek(query)
        self._declined = query if answer.reason in (Reason.BELOW_THRESHOLD, Reason.UNRESOLVED) else ""
        self._chosen = None
        if answer.reason is Reason.CHOSEN and self._offer:
            self._topic = answer.hits[0].faq.question
            self._chosen = self._offer.choices.index(self._topic)
        elif answer.reason is not Reason.NO_CHOICE:
            # What is made of it later needs no search.
            self._offer = replace(answer, milliseconds={"embed": 0.0, "search": 0.0}) if answer.choices else None
            if answer.reason is not Reason.REJECTED and not (self._topic and self.small_talk.refers_back(query)):
                self._topic = query
        return answer

    def peek(self, query: str) -> Answer:
        """Return what `ask` would return, but remember nothing."""
        if self._offer and (reply := self._reply(self._offer, query)):
            return replace(reply, query=query)
        wanted = UNWANTED.sub("", query)  # the encoder doesn't tell what is wanted from what isn't
        wanted = wanted if len(wanted.split()) >= LEAST_WORDS and len(query.split()) <= MOST_WORDS else query
        answer = self._two_questions(wanted) or self._look_up(wanted, self._topic)
        if answer.reason is Reason.BELOW_THRESHOLD and self._declined:
            first, again = self.retriever.embed([self._declined, query])
            if first @ again >= SAME_QUESTION:
                answer = self._reach_a_person(answer)
        return replace(answer, query=query)

    def _look_up(self, query: str, topic: str) -> Answer:
        known = normalised(query) in self.retriever.faqs.phrasings  # then it stands alone
        if topic and not known and self.small_talk.refers_back(query):
            return self._follow_up(query, topic)
        answer = self.retriever.answer(query)
        decided = answer.answered and answer.reason is not Reason.UNCALIBRATED
        return answer if decided or self.small_talk.classify(query) not in PERSON else self._reach_a_person(answer)

    def _follow_up(self, query: str, topic: str) -> Answer:
        """Look up both texts; if that repeats the answer to *topic* and another hit is much more similar, ask which."""
        both = f"{query} {topic}"
        answer = self.retriever.answer(both)
        first, *others = answer.hits
        others = [hit for hit in others if hit.faq.answer != first.faq.answer]
        if not others or answer.reason is not Reason.CONFIDENT:
            return answer
        before = self.retriever.answer(topic)
        if before.reason is not Reason.CONFIDENT or before.hits[0].faq != first.faq:
            return answer
        # One by one, as the encoders have kept the vector of the second.
        similar = (self.retriever.similarities([query]) + self.retriever.similarities([both]))[0]
        score = {hit: similar[self.retriever.faqs.position[hit.faq.id]] for hit in (first, *others)}
        rival = max(others, key=score.__getitem__)
        if score[rival] - score[first] < NEWS:
            return answer
        hits = tuple(dict.fromkeys((rival, *answer.hits)))
        choices = (rival.faq.question, first.faq.question)
        return replace(answer, outcome=Outcome.CLARIFY, reason=Reason.AMBIGUOUS, hits=hits, choices=choices)

    def _reach_a_person(self, answer: Answer) -> Answer:
        """Return the entry that says how to reach a person; if there is none, *answer*, declined."""
        return self._contact or replace(answer, outcome=Outcome.DECLINE, reason=Reason.UNRESOLVED, choices=())

    def _two_questions(self, query: str) -> Answer | None:
        """Return the answer to two questions at once, if both (or in few words, one) have an answer; else None."""
        # A statement after a question is no second question.
        gaps = [gap for gap in BETWEEN_QUESTIONS.finditer(query) if "?" not in gap[0] or query.rfind("?") >= gap.end()]
        splits = [(query[: gap.start()], query[gap.end() :]) for gap in gaps[:20]]
        splits = [parts for parts in splits if min(len(part.split()) for part in parts) >= LEAST_WORDS]
        if len(splits) != 1 or self.retriever.config.scale is None:
            return None
        [(first, second)] = splits
        answers = self._look_up(first, self._topic), self._look_up(second, first)
        found = [answer for answer in answers if answer.answered]
        hits = tuple(answer.hits[0] for answer in found)
        both = len({hit.faq.answer for hit in hits}) == 2
        one = len(hits) == 1 and len(query.split()) <= MOST_WORDS
        if not both and (not one or any(map(self.small_talk.classify, (first, second)))):
            return None
        return replace(found[0], reason=Reason.TWO_QUESTIONS, hits=hits)

    @cached_property
    def _contact(self) -> Answer | None:
        """The look-up of how to reach a person; None if the FAQ doesn't say."""
        answer = max(map(self.retriever.answer, CONTACT), key=lambda answer: answer.confidence)
        sure = answer.reason is not Reason.UNCALIBRATED or answer.confidence >= CONTACT_COSINE
        return answer if answer.answered and sure else None

    def _parts(self, text: str) -> dict[str, str | None]:
        """Return the parts of *text* between punctuation marks, and the intent of each."""
        return {p: self.classify(p) for p in re.split(r"[,.;:!?]+|\bbut\b", text) if has_words(p)}

    def _reply(self, offer: Answer, query: str) -> Answer | None:
        """Return the answer to *query* as a reply to the clarifying question of *offer*; None if it isn't one."""
        again = replace(offer, reason=Reason.NO_CHOICE)
        if normalised(query) == normalised(offer.query):
            return again
        parts = self._parts(query)
        intents = {*parts.values()}
        named = ", ".join(part for part, intent in parts.items() if intent == "choice")
        about = ", ".join(part for part, intent in parts.items() if intent is None or DENIED.search(part))
        places = positions(named, offer.choices, self._chosen)
        if places is None and query.strip(" .").isdecimal():
            return again
        if places and len(places) == 1 and len(about.split()) <= SHORT:
            return _choose(offer, *places)
        if self._chosen is not None or PERSON & intents:
            return again if named else None
        if places == set() or (not about and {"no", "complaint"} & intents):
            return replace(offer, outcome=Outcome.DECLINE, reason=Reason.REJECTED, choices=())
        affirmed = DENIED.sub("", about)
        if has_words(affirmed):
            # With its punctuation, which separates two questions.
            return self._reply_about(offer, affirmed if affirmed != about or any(intents) else query)
        if about:  # "not the gift": of two, it's the other
            place = self._nearest(offer, about)
            return again if place is None or len(offer.choices) > 2 else _choose(offer, 1 - place)
        beyond = UNOFFERED.search(named)
        place = self._nearest(offer, named) if named and places is None and not beyond else None
        return again if place is None else _choose(offer, place)

    def _reply_about(self, offer: Answer, affirmed: str) -> Answer:
        if (two := self._two_questions(affirmed)) and len(two.hits) == 2:
            return two
        answer = self._look_up(affirmed, self._topic)
        offered = {question: place for place, question in enumerate(offer.choices)}
        place = offered.get(answer.hits[0].faq.question) if answer.answered else self._nearest(offer, affirmed)
        return answer if place is None else _choose(offer, place)

    def _nearest(self, offer: Answer, text: str) -> int | None:
        """Return the position, from 0, of the offered entry that *text* is about; None if none is clearly nearest."""
        entries = [self.retriever.faqs.position[hit.faq.id] for hit in offer.hits[: len(offer.choices)]]
        cosines = self.retriever.index.similarities(self.retriever.embed([text, f"{offer.query} {text}"])).T
        offered = cosines[entries]
        # In more words than a choice needs, it may be a new question: then no other entry may be nearer to it.
        near = NEAR if len(text.split()) <= SHORT else max(NEAR, cosines[:, 0].max())
        *_, second, first = np.sort(offered.sum(axis=1))
        nearest = int(offered.sum(axis=1).argmax())
        rival = cosines.sum(axis=1).max() - first  # how much nearer an entry is that wasn't offered
        return nearest if offered[nearest, 0] >= near and first - second >= LEAD and rival <= SLACK else None


REPLIES = frozenset({"yes", "no", "unsure", "acknowledge", "unclear", "complaint", "choice", "continue"})
"""After a clarifying question, words with these intents are a reply to it."""

DENIED = re.compile(r"\bnot (?:the|an?|about|for)\b[^,]*")

PERSON = frozenset({"human", "angry"})  # who says this gets the way to reach a person

CONTACT = ("How can I contact you?", "How can I reach customer service?")
CONTACT_COSINE = 0.5  # where everything is answered, the least for an entry that says how to reach a person

NEWS = 0.1  # by how much a hit must lead, in the same sum as LEAD, over the entry that was just the answer

SAME_QUESTION = 0.75  # the least cosine of a question that is asked again in other words

UNWANTED = re.compile(r"(?i)(?:^|[,.;]|\b(?:and|but)\b)\s*I (?:don['’]t|do not) (?:want|need) a(?:n|nother)?\b[^,.;?]*")
"""A clause such as "…, I don't want another size"; "I don't want to keep it" isn't one, as it says what is wanted."""

BETWEEN_QUESTIONS = re.compile(r"(?:(?<![\s,.;!?])[\s,.;!?]++)?\b(?:and|also)\b(?:\s+also\b)?\s*|\?\s+", re.IGNORECASE)
LEAST_WORDS = 3  # of each question

SHORT = 6  # words
NEAR, LEAD, SLACK = 0.2, 0.05, 0.15
"""
NEAR: the minimum cosine between a reply and the nearest offered entry. LEAD: its minimum lead over the second entry in
cos(reply) + cos(question + reply), where the second text is as in "can I return it it was reduced". SLACK: by how much
an entry that wasn't offered may lead over it.
"""


def _choose(offer: Answer, place: int) -> Answer:
    hits = (offer.hits[place], *offer.hits[:place], *offer.hits[place + 1 :])
    return replace(offer, outcome=Outcome.ANSWER, reason=Reason.CHOSEN, hits=hits, choices=())


def positions(reply: str, choices: Sequence[str], chosen: int | None = None) -> set[int] | None:
    """Return the positions, from 0, that *reply* may mean ("not the first"); None if it names none."""
    words = re.findall(r"[\w']+", reply.lower().replace("’", "'"))
    topics = re.sub(r"[^\w|]+", " ", f" {' | '.join(choices)} ".lower())  # "first class" may name one
    topic = {word for pair in pairwise(words) if "the" not in pair and f" {' '.join(pair)} " in topics for word in pair}
    topic |= {*PRONOUN.findall(" ".join(words))}
    table = ORDINALS if {"other", *ORDINALS} & {*words} else NUMBERS
    places = [table.get(word, len(choices)) if word not in topic else len(choices) for word in words]
    named: list[int] = []
    left, negated = {*range(len(choices))}, False
    for n, (word, place) in enumerate(zip(words, places, strict=True)):
        if word == "then" and named:
            break
        if word in ("not", "isn't", "wasn't", "don't", "neither", "nor"):
            negated = True
        elif place < len(choices):
            (left.discard if negated else named.append)(place % len(choices))
            negated = negated and "or" in words[n + 1 : n + 3]
    if named:
        return {*named} if {"or", "and"} & {*words} else {named[-1]}
    if "other" in words and len(left) == len(choices):
        left.discard(chosen or 0)  # "the other one"
    return left if len(left) < len(choices) else None


PRONOUN = re.compile(r"\bthe (?!(?:number|option|choice|answer|question|thing)\b)(?:\w+ ){1,3}(one)\b")
ORDINALS = {"first": 0, "1st": 0, "former": 0, "top": 0, "second": 1, "2nd": 1, "middle": 1, "third": 2, "3rd": 2}
ORDINALS |= dict.fromkeys(("last", "latter", "bottom", "final"), -1)
NUMBERS = {"one": 0, "1": 0, "a": 0, "two": 1, "too": 1, "to": 1, "2": 1, "b": 1, "three": 2, "3": 2, "c": 2}
"""Number words name a choice only in a reply without an ordinal: "the second one" isn't number one."""
UNOFFERED = re.compile(r"\d|\b(?:three|third|four|fourth|five|fifth|six|seven|eight|nine|ten)\b", re.IGNORECASE)
"""In a reply whose numbers name no choice."""
