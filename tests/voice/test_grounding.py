"""Numbers that a model says and that its entries don't have."""

from __future__ import annotations

import pytest

from faqlab.voice.grounding import invented_numbers

ENTRY = "You have 30 days. Returns cost £4.95 and take 3-5 working days, until 5:30 p.m., from 1 May 2026."


@pytest.mark.parametrize(
    "said",
    [
        "You've got thirty days, and it costs four pounds ninety-five.",
        "Three to five working days.",
        "We're open until 5:30.",
        "The first of May twenty twenty-six, one moment please.",
        "It depends on the article.",
    ],
)
def test_what_the_entry_says_is_not_flagged_however_it_is_worded(said: str) -> None:
    assert invented_numbers(said, [ENTRY]) == ()


@pytest.mark.parametrize(
    ("said", "invented"),
    [
        ("You have 90 days.", ("ninety",)),
        ("It costs six pounds.", ("six",)),
        ("It's free above £50, until 6 p.m.", ("fifty", "six")),
        ("From the twelfth of May.", ("twelfth",)),
        ("It takes 45 minutes or forty five minutes.", ("forty-five",)),
        ("There's a 90-day window.", ("ninety",)),
    ],
)
def test_other_numbers_are_flagged_once(said: str, invented: tuple[str, ...]) -> None:
    assert invented_numbers(said, [ENTRY]) == invented


def test_a_number_before_a_noun_is_the_same_number() -> None:
    assert invented_numbers("You have thirty days, and there are two ways.", ["A 30-day window."]) == ()
    assert invented_numbers("A 30-day window.", ["You have thirty days."]) == ()


def test_the_callers_own_numbers_are_known() -> None:
    assert invented_numbers("Yes, nine shirts are fine.", [ENTRY, "Can I return 9 shirts?"]) == ()
