"""How long the STT waits after what was said."""

from __future__ import annotations

import pytest

from faqlab.voice.endpointing import EndpointingDelays, looks_complete, looks_like_keywords
from faqlab.voice.whisper import Transcript

DELAYS = EndpointingDelays()


@pytest.mark.parametrize(
    "text",
    [
        "How long does delivery take?", "I want to cancel my order.", "Who do I send it to?", "Stop!", "Yes.",
        "What is it made of?",
    ],
)  # fmt: skip
def test_whole_sentences_look_complete(text: str) -> None:
    assert looks_complete(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "How long does", "How long does it...", "I bought this and.", "Can I send it to my.", "Um.", "How?",
        "I'd like to return the", "So um, can I.", "Do you ship to Canada and", "Is there a fee for",
        "I bought a coat because.",
    ],
)  # fmt: skip
def test_what_was_cut_off_does_not_look_complete(text: str) -> None:
    assert not looks_complete(text)


@pytest.mark.parametrize("text", ["Return label price", "Days to ship", "Driver's licence", "GDPR contract"])
def test_search_keywords_may_be_whole(text: str) -> None:
    assert looks_like_keywords(text)
    assert DELAYS.after(Transcript(text)) == DELAYS.doubtful


@pytest.mark.parametrize(
    "text",
    [
        "", "Returns", "My return", "What are the", "I was", "Return label...", "Shoes too big for", "Order can't",
        "b c d e f", "Send it back", "You sent me", "Return this", "She bought shoes", "Not working properly",
        "Let's say shoes",
    ],
)  # fmt: skip
def test_pieces_of_sentences_are_no_keywords(text: str) -> None:
    assert not looks_like_keywords(text)


@pytest.mark.parametrize(
    ("text", "sentence_end", "delay"),
    [
        ("How long does your standard delivery take on Sundays?", 0.95, "question"),
        ("How long does your standard delivery take on Sundays?", 0.6, "doubtful"),
        ("I want to cancel the latest order of mine.", 0.95, "statement"),
        ("I want to cancel the latest order of mine.", 0.75, "doubtful"),
        ("Hers has been here for a while.", 0.95, "doubtful"),
        ("Thank you.", 0.95, "statement"),
        ("Do I need an account?", 0.95, "doubtful"),
        ("How do I post these trainers back?", 0.98, "doubtful"),
        ("Which bus stops nearest to your front door.", 0.75, "doubtful"),
        ("Which bus stops nearest to your front door.", 0.6, "unfinished"),
        ("I want to ask about.", 0.6, "unfinished"),
        ("How long does", 0.0, "unfinished"),
        ("", 0.0, "unfinished"),
    ],
)
def test_the_less_sure_the_end_the_longer_the_wait(text: str, sentence_end: float, delay: str) -> None:
    assert DELAYS.after(Transcript(text, sentence_end=sentence_end)) == getattr(DELAYS, delay)


def test_the_delays_grow_with_doubt() -> None:
    assert DELAYS.shortest == DELAYS.question < DELAYS.statement < DELAYS.doubtful < DELAYS.unfinished < DELAYS.rejoin
