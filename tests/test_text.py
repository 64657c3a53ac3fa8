"""Text from outside: cleaned in a time that grows with its length, and refused in one short line."""

from __future__ import annotations

from pathlib import Path

import pytest

from faqlab.errors import FaqlabError
from faqlab.text import clean_query, plain_text, read_text


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


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("By card, at R&B's: 5 < 6.", "By card, at R&B's: 5 < 6."),
        ("ann_lee@example.org, 3*4*5 and 10 * 2", "ann_lee@example.org, 3×4×5 and 10 * 2."),
        ("**Free** for [members](https://example.com/a_b)!", "Free for members!"),
        ("# Prices\n\nAdults\n: £5", "Prices.\nAdults.\n: £5."),
        ("We ship\nto most countries.\nAsk us", "We ship to most countries.\nAsk us."),
        ("Bring:\n\n* a tent\n* food;\n  1. bread\n  2. milk!", "Bring:\na tent.\nfood;\nbread.\nmilk!"),
        ("<p>Yes, <b>at&nbsp;once</b> &amp; free</p><ul><li>A<li>B</ul>", "Yes, at once & free.\nA.\nB."),
        ("<table><tr><th>Who</th><th>Price</th></tr><tr><td>All</td><td>£5</td></tr></table>", "Who, Price.\nAll, £5."),
        ("Hi<script>alert(1)</script><style>p {}</style> there\n\n<!-- <b>old</b> -->", "Hi there."),
        ("Press <Enter> or `<Tab>`, <code>x</code>", "Press <Enter> or <Tab>, x."),
        ("Type <code>, <your name> and <b>go</b>", "Type <code>, <your name> and go."),
        ("- [x] ~~Old~~ new\n- [ ] B", "new.\nB."),
        ("One<br>two<br/>Three", "One.\ntwo.\nThree."),
    ],
)
def test_neither_markdown_nor_html_is_left_in_plain_text(marked: str, plain: str) -> None:
    assert plain_text(marked) == plain
    assert plain_text(plain) == plain


def test_a_message_is_one_line_of_at_most_300_characters() -> None:
    message = str(FaqlabError("mine.json: \x1b[2J\r\n\ud800 can't be used."))
    assert message == "mine.json:  [2J    can't be used."
    long = str(FaqlabError(f"mine.json: {'x' * 400_000}; fix it."))
    assert len(long) == 300
    assert long.startswith("mine.json: xxx") and long.endswith("xxx; fix it.")


def test_a_name_with_a_null_character_is_no_file() -> None:
    with pytest.raises(FaqlabError, match=r"^a b: can't be read \(embedded null byte\); name another\.$"):
        read_text(Path("a\0b"), "name another")
