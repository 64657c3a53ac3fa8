"""Endpointing: how long a silence ends a turn, given what was said before it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from faqlab.voice.whisper import Transcript


@dataclass(frozen=True)
class EndpointingDelays:
    """How long a silence ends a turn, in seconds."""

    question: float = 0.35  # after what is almost certainly a complete question
    statement: float = 0.38  # after what is almost certainly a complete sentence
    doubtful: float = 0.65  # after what may be complete: an unsure end, a few words, search keywords
    unfinished: float = 0.9  # after what looks cut off
    rejoin: float = 1.5  # if speech resumes within this time after a transcript, the next transcript holds both parts

    @property
    def shortest(self) -> float:
        """By then the transcript must be ready."""
        return min(self.question, self.statement, self.doubtful, self.unfinished)

    def after(self, transcript: Transcript) -> float:
        """Return how long a silence after *transcript* ends the turn."""
        text, sentence_end = transcript.text, transcript.sentence_end
        if not looks_complete(text):
            return self.doubtful if sentence_end > 0.7 or looks_like_keywords(text) else self.unfinished
        if 3 <= len(text.split()) <= 7:  # "How do I post these trainers", which may go on: "back to you?"
            return self.doubtful
        if text.endswith("?") and sentence_end > 0.8:
            return self.question
        return self.statement if sentence_end > 0.9 else self.doubtful


def looks_complete(text: str) -> bool:
    """Return whether *text*, with Whisper's punctuation, may be all that the speaker wants to say."""
    if not text.endswith((".", "?", "!")) or text.endswith("..."):
        return False
    question = text.endswith("?")
    words = re.findall(r"[\w']+", re.split(r"(?<=[.?!])\s+", text)[-1].lower())
    if not words or words[-1] in _UNFINISHED or (not question and words[-1] in _PREPOSITIONS | _AUXILIARIES):
        return False
    while len(words) > 1 and words[0] in _OPENERS:
        words.pop(0)
    # Whisper punctuates by intonation: a question without a question mark, or of a single word, isn't complete.
    return words[0] not in _QUESTION_WORDS or (question and len(words) > 1)


def looks_like_keywords(text: str) -> bool:
    """Return whether *text* is two to four words as in a search box, such as "return label price"."""
    words = re.findall(r"[\w']+", text.lower())
    return (
        2 <= len(words) <= 4
        and text[-1].isalnum()
        and words[-1] not in _PREPOSITIONS
        and _SENTENCE_WORDS.isdisjoint(words)
        and not any("'" in word and not word.endswith("'s") for word in words)
    )


_UNFINISHED, _PREPOSITIONS, _AUXILIARIES, _OPENERS, _QUESTION_WORDS, _OTHER = (
    frozenset(words.split())
    for words in (
        # A sentence doesn't end with one of these,
        "and or but nor the a an my your our their because if whether unless while than um uh er erm hmm as i we he "
        "they i'm i've i'd i'll we've we're we'd they've you've you're you'd it's that's there's what's every another",
        # and with these only in a question: "Who do I send it to?"
        "of from with about to for at by into without until till per via between",
        "is are was were am be do does did can could would will should may might must any some its his like what how "
        "why when where which who whose whom so",
        "so um uh er hi hello hey yeah yes okay ok well and oh please right sorry there then also",
        "how what when where why who which whose can could do does did is are was were will would should shall may am "
        "have has",
        "it this that these those you me us them she they who not no got get gets sent bought had want need let's he's "
        "she's how's who's where's here's",
    )
)
_SENTENCE_WORDS = _UNFINISHED | _AUXILIARIES | _OPENERS | _QUESTION_WORDS | _OTHER
