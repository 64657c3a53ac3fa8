"""Text from outside: cleaned in a time that grows with its length, and refused in one short line."""

from __future__ import annotations

from pathlib import Path

import pytest

from faqlab.errors import FaqlabError
from faqlab.text import clean_query, read_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Where is my parcel?? ", "Where is my parcel"),
        ("“Can I pay by card”, please !", "Can I pay by card"),
        ("… don’t you ship 'abroad' , too", "don't you ship abroad, too"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_a_query_loses_what_does_not_change_its_meaning(text: str, expected: str) -> None:
    assert clean_query(text) == expected


def test_a_long_query_takes_no_longer_than_its_length() -> None:
    """A pattern that is quadratic in the text's length would take hours, and so run into pytest's timeout."""
    for part in (".", " ", "'", "a ", "please", "\n."):
        text = f"a{part * 1_000_000}b"
        assert clean_query(text)[::999_999].startswith("a")


def test_a_message_is_one_line_of_at_most_300_characters() -> None:
    message = str(FaqlabError("mine.json: \x1b[2J\r\n\ud800 can't be used."))
    assert message == "mine.json:  [2J    can't be used."
    long = str(FaqlabError(f"mine.json: {'x' * 400_000}; fix it."))
    assert len(long) == 300
    assert long.startswith("mine.json: xxx") and long.endswith("xxx; fix it.")


def test_a_name_with_a_null_character_is_no_file() -> None:
    with pytest.raises(FaqlabError, match=r"^a b: can't be read \(embedded null byte\); name another\.$"):
        read_text(Path("a\0b"), "name another")
