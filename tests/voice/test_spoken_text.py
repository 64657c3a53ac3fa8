"""The text that is handed to the voice: numbers, prices, times, addresses and markup as a person would read them."""

from __future__ import annotations

import pytest

from benchmarks.spoken_text import CASES
from faqlab.voice.spoken_text import sentences, speakable


@pytest.mark.parametrize(("written", "spoken"), [case[1:] for case in CASES], ids=[case[1][:40] for case in CASES])
def test_it_is_read_as_a_person_would(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


def test_what_has_been_rewritten_stays_as_it_is() -> None:
    assert [speakable(spoken) for _, _, spoken in CASES] == [spoken for _, _, spoken in CASES]


@pytest.mark.parametrize(
    "text",
    ["31/31/2026", "5s, 1.2.3.4.5 and 1,5,5", "on 2026-13-40", "See page 999999999999999999999999.", "#1 & co", "5/4"],
)
def test_what_is_no_date_and_no_number_of_a_usual_size_is_still_read(text: str) -> None:
    assert not any(c.isdigit() for c in speakable(text).replace("31/31", "").replace("13-40", ""))


@pytest.mark.parametrize(
    "part",
    [
        "<a>",
        "<s>",
        "</a>",
        '"a',
        "/a",
        "a/",
        "A:\\",
        "AB12 ",
        "May 2 ",
        "1/",
        "a-",
        "a.",
        "a@",
        "12 ",
        "www.",
        "Mon-",
        "9 a",
        "$1-",
        "1,",
        "A-",
        "A1",
        "111,",
        "9:",
        "etc.  ",
        "*a ",
        "<",
        "[",
    ],
)
def test_a_long_text_takes_no_longer_than_its_words(part: str) -> None:
    """Patterns that are quadratic in the text's length would take minutes, and so run into pytest's timeout."""
    speakable(20_000 * part)
    sentences(20_000 * part)


@pytest.mark.parametrize(
    "whole",
    [
        ["The fee is Rs. 2,000 or Rs. 50000.", "Pay No. 5 first."],
        ["Call Mon-Fri, 9:00 a.m. - 5:30 p.m.", "We answer."],
        ["Open at 9 a.m. Monday to Friday.", "We close at 5 p.m.", "Call us."],
        ["Bring e.g. boots, soap etc.", "It takes approx. 3 hrs.", "Dr. Smith of St. James is in."],
        ['Mr. J. K. Lee said: "Yes."', "Then he left.", "See p. 5.", "No.", "I won't."],
        ["It's in Rm. 5, Bldg. 12.", "Write to P.O. Box 7, Attn. Mr. Lee."],
        ["Go to example.com/a.b, say.", "Really?!", "Yes… (or no.)", "Now"],
    ],
)
def test_a_sentence_ends_where_a_reader_would_pause(whole: list[str]) -> None:
    assert sentences(" ".join(whole)) == whole
    assert sentences("\n\n".join(whole)) == whole
