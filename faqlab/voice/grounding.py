"""Is what a model says true to the entries that it was given? Its numbers, amounts, dates and times tell."""

import re
from collections.abc import Iterable
from functools import lru_cache

from num2words import num2words

from faqlab.voice.spoken_text import speakable


def invented_numbers(said: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Return the words for numbers in what was *said*, whether in words or digits, that none of the *sources* has."""
    known = {number for source in sources for number in _numbers(source)}
    return tuple(dict.fromkeys(number for number in _numbers(said) if number not in known))


@lru_cache(maxsize=2048)  # the same entries are found again and again
def _numbers(text: str) -> tuple[str, ...]:
    tens_and_units = rf"[a-z]+ty[ -](?:{UNITS})\b|[a-z]+"  # "thirty-five" is one word, "thirty-day" two
    words = [word.replace(" ", "-") for word in re.findall(tens_and_units, speakable(text).lower())]
    return tuple(word for word in words if NUMBERS.issuperset(word.split("-")) and word not in SELDOM_NUMBERS)


CARDINALS = {word for n in (*range(100), 100, 1000, 10**6) for word in re.findall(r"[a-z]+", num2words(n))}
NUMBERS = CARDINALS | {num2words(n, to="ordinal").split("-")[-1] for n in range(1, 32)}
SELDOM_NUMBERS = {"one", "two", "three", "first", "second", "and"}  # "one moment", "there are two ways", "Two: …"
UNITS = "|".join(num2words(n, to=kind) for n in range(1, 10) for kind in ("cardinal", "ordinal"))
