"""The text that the TTS gets: numbers, prices, times, addresses and signs in words, by the rules of a data file."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib.resources import files

from num2words import num2words

from faqlab.settings import PROJECT_ROOT
from faqlab.text import plain_text, read_text

WORDS = tomllib.loads(read_text(PROJECT_ROOT / "data/spoken.toml", "restore it from the repository"))
UNITS = {sign: names.split("|") for sign, names in (WORDS["money"] | WORDS["units"]).items()}
MONTHS = {name[:3]: name for name in WORDS["months"].values()}
FULL = ("o'clock", "hundred")  # after an hour up to twelve, and after a later one
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"”’)\]])\s+|\n\s*")
SLOT = re.compile(r"\{([\d ]+):?(\w*)\}")


def speakable(text: str) -> str:
    """Return *text*, which may be Markdown or HTML, in words: "seven thirty AM", "two thousand rupees", "dot A-I"."""
    text = plain_text(text)
    for pattern, spoken in _rules():
        text = pattern.sub(partial(_fill, spoken), text)
    return re.sub(r" (?=[,.;:!?)])", "", " ".join(text.split()))


def sentences(text: str) -> list[str]:
    """Return the sentences of *text*, as written; "Rs. 5", "9 a.m. to 5 p.m." and "No. 7" have no end within them."""
    found: list[str] = []
    for part in filter(None, map(str.strip, SENTENCE_END.split(text))):
        last = found[-1].split()[-1].lstrip("(“\"'") if found else ""
        if last in WORDS["ends"] or re.fullmatch(r"(?i)[ap]\.m\.", last):
            goes_on = not part[0].isupper() or part[:3] in WORDS["days"]
        else:
            goes_on = part[0].islower() or last in WORDS["abbreviations"] or bool(re.fullmatch(r"[A-Z]\.|St\.", last))
            goes_on |= last in WORDS["before_digits"] and part[0].isdigit()
        found[-1:] = [f"{found[-1]} {part}"] if found and goes_on else [*found[-1:], part]
    return found


def _fill(spoken: str, match: re.Match[str]) -> str:
    """Return what is *spoken* for a match, which is left as it is if it can't be (31/31/2026)."""

    def say(slot: re.Match[str]) -> str:
        groups = [match[int(group)] or "" for group in slot[1].split()]
        function = FUNCTIONS.get(slot[2]) or WORDS.get(slot[2], {}).__getitem__
        return function(*groups) if groups[0] and slot[2] else groups[0]

    with suppress(LookupError, ValueError):
        return SLOT.sub(say, spoken)
    return match[0]


@cache
def _rules() -> list[tuple[re.Pattern[str], str]]:
    tables = {name: sorted(table, key=len, reverse=True) for name, table in WORDS.items() if isinstance(table, dict)}
    names = {name: "|".join(map(re.escape, words)) for name, words in tables.items()} | WORDS["patterns"]
    names["month"] = "|".join(f"{name[:3]}(?:{name[3:]}|t\\b)?" for name in WORDS["months"].values())
    return [
        (re.compile(re.sub(r"<(\w+)>", lambda m: f"({names[m[1]]})", rule)), spoken) for rule, spoken in WORDS["rules"]
    ]


@cache
def _lexicon() -> frozenset[str]:
    """Return the words that the voice knows."""
    packed = (files("hibari").joinpath(f"assets/lexicon_us_{part}.json.gz").read_bytes() for part in ("gold", "silver"))
    return frozenset(word.lower() for part in packed for word in json.loads(gzip.decompress(part)))


def _address(text: str) -> str:
    *local, site = re.sub(r"(?i)^(?:https?://)?(?:www\.)?|[?#].*$", "", text).rstrip("/").rpartition("@")
    parts = [*re.split(r"([._+-])", local[0]), "@"] * bool(local[0])
    parts += [part if part == "co" else _label(part) for part in re.split(r"([./_-])", site)]
    return "".join(WORDS["addresses"].get(part, part) for part in parts)


def _label(part: str) -> str:
    """Return a part of a web address, spelled if it's short and the voice doesn't know it ("irs")."""
    known = part in WORDS["addresses"] or part == "gov" or {part.lower(), part.lower().rstrip("s")} & _lexicon()
    return _spell(part) if re.fullmatch("[A-Za-z]{2,4}", part) and (len(part) == 2 or not known) else part


def _spell(letters: str) -> str:
    return "-".join(letters.upper())  # hibari reads "A" as the article, but not in "A-I"


def _digits(text: str) -> str:
    return ", ".join(" ".join(num2words(int(digit)) for digit in group) for group in re.findall(r"\d+", text))


def _number(text: str) -> str:
    whole, _, decimals = re.sub(r"[, ](?=\d{3}(?!\d))", "", text).replace(",", ".").partition(".")
    return num2words(int(whole)).replace(",", "") + (f" point {_digits(decimals)}" if decimals else "")


def _ordinal(text: str) -> str:
    return num2words(int(re.sub(r"\D", "", text)), to="ordinal").replace(",", "")


def _year(text: str) -> str:
    return num2words(int(text), to="year").replace("oh-", "oh ")


def _amount(number: str, sign: str = "") -> str:
    """Return "five pounds fifty", "one pound and five pence", "ninety-nine cents", "one kilogram"."""
    if not sign:
        return _number(number)
    one, several, *hundredth = UNITS[sign]
    money = re.fullmatch(r"([\d, ]+)[.,](\d\d)", number) if hundredth else None
    whole, cents = money.groups() if money else (number, "00")
    said = f"{_number(whole)} {one if whole == '1' else several}"
    if cents == "00":
        return said
    small = f"{_number(cents)} {hundredth[0]}"
    return small if whole == "0" else f"{said} {'and ' + small if cents < '10' else _number(cents)}"


def _reference(text: str) -> str:
    """Return the name of a flight, road or paper size: "B-A one one seven", "M twenty-five", "A-four"."""
    runs = re.findall(r"[A-Z]+|\d+", text)
    said = [_spell(r) if r.isalpha() else _digits(r) if len(r) > 2 or r[0] == "0" else _number(r) for r in runs]
    return ("-" if runs[0] == "A" and len(runs) == 2 else " ").join(said)


def _minutes(text: str) -> str:
    return "" if text == "00" else f"{'oh ' * text.startswith('0')}{_number(text)}"


def _fraction(text: str) -> str:
    if text in WORDS["signs"]:
        return str(WORDS["signs"][text])
    top, bottom = text.split("/")
    if int(top) >= int(bottom):
        raise ValueError(text)
    name = {"2": "half", "4": "quarter"}.get(bottom) or _ordinal(bottom)
    return f"a {name}" if top == "1" else f"{_number(top)} {name}s"


FUNCTIONS: dict[str, Callable[..., str]] = {
    "address": _address,
    "abbreviation_at_end": lambda text: WORDS["abbreviations"][text] + "." * (text in WORDS["ends"]),
    "amount": _amount,
    "clock": lambda hour, minute: f"{_number(hour)} {_minutes(minute) or FULL[int(hour) > 12]}",
    "decade": lambda text: f"{_year(text)[:-1]}ies" if text[-2] != "1" else f"{_year(text)}s",
    "digits": _digits,
    "dotted": lambda text: " dot ".join(map(_number, text.split("."))),
    "fraction": _fraction,
    "half": lambda text: f"{text[0].upper()}M",
    "minutes": _minutes,
    "month": lambda text: WORDS["months"][text.lstrip("0")] if text.isdigit() else MONTHS[text[:3]],
    "number": _number,
    "ordinal": _ordinal,
    "per": lambda text: f" per {UNITS.get(text, [text])[0]}",
    "plural": lambda text: UNITS[text][1],
    "plus": lambda text: "plus " * text.startswith("+"),
    "reference": _reference,
    "singular": lambda text: UNITS[text][0],
    "year": _year,
}
