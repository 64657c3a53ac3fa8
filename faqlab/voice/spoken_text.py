"""The text that the TTS gets: numbers, prices, times, addresses and signs in words, by the rules of a data file."""

import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

from num2words import num2words

from faqlab.settings import PROJECT_ROOT
from faqlab.text import plain_text, read_text

WORDS = tomllib.loads(read_text(PROJECT_ROOT / "data/spoken.toml", "restore it from the repository"))
UNITS = {sign: names.split("|") for sign, names in (WORDS["money"] | WORDS["units"]).items()}

SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"”’)\]])\s+|\n\s*")


def speakable(text: str) -> str:
    """Return *text*, which may be Markdown or HTML, in words: "seven thirty AM", "two thousand rupees", "dot A-I"."""
    text = plain_text(text)
    for pattern, spoken in _rules():
        text = pattern.sub(partial(_fill, spoken), text)
    return re.sub(r"(?<=[(“‘]) | (?=[,.;:!?)”]|['’](?!\w))", "", " ".join(text.split()))


def sentences(text: str) -> list[str]:
    """Return the sentences of *text*, as written; "Rs. 5", "9 a.m. to 5 p.m." and "No. 7" have no end within them."""
    found: list[list[str]] = []
    for part in filter(None, map(str.strip, SENTENCE_END.split(text))):
        last = re.split(r"[\s–-]", found[-1][-1])[-1].lstrip("(“\"'") if found else ""
        goes_on = bool(re.match(r"[(“\"'‘]?[a-z]", part)) or last in WORDS["abbreviations"]
        goes_on |= last in WORDS["before_digits"] and part[0].isdigit()
        goes_on |= re.fullmatch(r"[A-Z]\.|St\.", last) is not None
        if last in WORDS["ends"] or re.fullmatch(r"(?i)[ap]\.m\.", last):
            goes_on = not part[0].isupper() or part[:3] in WORDS["days"]
        if not (found and goes_on):
            found.append([])
        found[-1].append(part)
    return [" ".join(parts) for parts in found]


def _fill(spoken: str, match: re.Match[str]) -> str:
    """Return what is *spoken* for a match, which is left as it is if it can't be (31/31/2026)."""

    def say(slot: re.Match[str]) -> str:
        groups = [match[int(group)] or "" for group in slot[1].split()]
        function = FUNCTIONS.get(slot[2]) or WORDS.get(slot[2], {}).__getitem__
        return function(*groups) if groups[0] and slot[2] else groups[0]

    with suppress(LookupError, ValueError):
        return re.sub(r"\{([\d ]+):?(\w*)\}", say, spoken)
    return match[0]


@cache
def _rules() -> list[tuple[re.Pattern[str], str]]:
    tables = {name: sorted(table, key=len, reverse=True) for name, table in WORDS.items() if name != "rules"}
    names = {name: "|".join(map(re.escape, words)) for name, words in tables.items()} | WORDS["patterns"]
    macro = re.compile(r"<(\w+)>")
    return [(re.compile(macro.sub(lambda m: f"({names[m[1]]})", rule)), spoken) for rule, spoken in WORDS["rules"]]


@cache
def g2p() -> Any:
    """Return the voice's lexicon and rules of pronunciation, which the TTS shares."""
    from hibari.g2p import G2P

    return G2P(british=False)


def _address(text: str) -> str:
    """Return an address without protocol and parameters; what is short and unknown to the voice is spelled ("irs")."""
    parts = re.split(r"([./\\@_+~-])", re.sub(r"(?i)^(?:https?://)?(?:www\.)?|[?#].*$", "", text).rstrip("/"))
    site = max((n for n, part in enumerate(parts) if part == "@"), default=-1)
    return "".join(
        WORDS["addresses"].get(part) or (_spelled(part) if n > site and re.fullmatch("[A-Za-z]{2,4}", part) else part)
        for n, part in enumerate(parts)
    )


def _spelled(text: str) -> str:
    known = text in ("co", "gov") or (len(text) > 2 and g2p().lexicon.is_known(text.lower(), "NN"))
    return text if known else "-".join(text.upper())  # hibari reads "A" as the article, but not in "A-I"


def _digits(text: str) -> str:
    return ", ".join(" ".join(num2words(int(digit)) for digit in group) for group in re.findall(r"\d+", text))


def _number(text: str) -> str:
    if re.search(r",\d\d$|\.\d{3},", text):  # a decimal comma
        text = text.replace(".", "").replace(",", ".")
    whole, _, decimals = re.sub("[, ]", "", text).partition(".")
    return num2words(int(whole)).replace(",", "") + (f" point {_digits(decimals)}" if decimals else "")


def _amount(number: str, sign: str = "") -> str:
    """Return "five pounds fifty", "one pound and five pence", "ninety-nine cents", "one kilogram"."""
    one, several, *hundredth = UNITS.get(sign, ("", ""))
    money = re.fullmatch(r"(\d[\d,. ]*)[.,](\d\d)", number) if hundredth else None
    whole, cents = (re.sub("[,. ]", "", money[1]), money[2]) if money else (number, "00")
    full = cents < "10" or len(whole) > 3  # "five pounds fifty", but "five thousand pounds and fifty pence"
    small = f"{_number(cents)} {''.join(hundredth)}" if full or whole == "0" else _number(cents)
    said = f"{_number(whole)} {one if whole == '1' else several}"
    return said if cents == "00" else small if whole == "0" else f"{said} {'and ' * full}{small}"


def _minutes(text: str) -> str:
    return "" if text == "00" else f"{'oh ' * text.startswith('0')}{_number(text)}"


FUNCTIONS: dict[str, Callable[..., str]] = {
    "address": _address,
    "amount": _amount,
    "clock": lambda hour, minute: f"{_number(hour)} " + (_minutes(minute) or ("o'clock", "hundred")[int(hour) > 12]),
    "code": lambda text: " ".join(_digits(r) if r.isdigit() else "-".join(r) for r in re.findall(r"[A-Z]+|\d+", text)),
    "digits": _digits,
    "groups": lambda text: ", ".join(map(FUNCTIONS["code"], re.findall(".{1,4}", text.replace(" ", "")))),
    "half": lambda text: f"{text[0].upper()}M",
    "minutes": _minutes,
    "number": _number,
    "ordinal": lambda text: num2words(int(re.sub(r"\D", "", text)), to="ordinal"),
    "per": lambda text: f" per {UNITS.get(text, [text])[0]}",
    "plural": lambda text: UNITS[text][1],
    "singular": lambda text: UNITS[text][0],
    "spelled": lambda text: "-".join(text),
    "year": lambda text: num2words(int(text), to="year").replace("oh-", "oh "),
}
