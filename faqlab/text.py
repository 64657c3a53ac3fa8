"""Text that comes from outside: files, arguments and transcripts."""

from __future__ import annotations

import codecs
import logging
import re
from functools import lru_cache
from pathlib import Path

from faqlab.cache import write_aside
from faqlab.errors import FaqlabError

log = logging.getLogger(__name__)


def is_blank(text: str) -> bool:
    """Whether *text* holds nothing but spaces and control characters."""
    return not any(c.isprintable() and not c.isspace() for c in text)


def has_words(text: str) -> bool:
    """Whether *text* holds a letter or a digit of any script."""
    return any(c.isalnum() for c in text)


def replace_surrogates(text: str) -> str:
    """Return *text* with a question mark for each lone surrogate, which can't be encoded as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def clean_query(text: str) -> str:
    """Return *text* without quotation marks, "please" and signs at its ends; *text* itself if nothing would be left."""
    words = re.sub(r"[\"“”„«»]|(?<!\w)'|'(?!\w)|\bplease\b", " ", text.translate(APOSTROPHES), flags=re.IGNORECASE)
    words = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(words.split()))
    return "".join(re.findall(r"(?s)\w(?:.*\w)?", words)) or text  # one match: the first word to the last


def normalised(text: str) -> str:
    """Return *text* without what doesn't make it another question: case, and what `clean_query` removes."""
    return clean_query(text).casefold()


@lru_cache(maxsize=1024)  # an answer is needed for the reply, its parts, the page and the voice
def plain_text(text: str) -> str:
    """Return *text* without Markdown and HTML: a line for each paragraph, list item or table row, with a full stop."""
    if not MARKUP.search(text):
        return text
    from bs4 import BeautifulSoup  # imported here because most texts have no markup, and it takes time
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark").disable("code").enable(["table", "strikethrough"])
    html = STRUCK.sub("", markdown.render(re.sub(r"(?<=\d)\*(?=\d)", "×", text)))  # no emphasis, but 3*4
    closed = set(re.findall(r"</([\w-]{1,20})>", html))
    html = PLACEHOLDER.sub(lambda tag: tag[0] if tag[1] in closed else f"&lt;{tag[0][1:]}", html)
    soup = BeautifulSoup(BLOCK_END.sub("\n\n", CELL_END.sub(", ", html)), "html.parser")
    lines = (" ".join(line.split()) for line in WRAPPED.sub(" ", soup.get_text()).splitlines())
    return "\n".join(f"{line}." if line[-1].isalnum() else line for line in lines if line)


MARKUP = re.compile(r"[<&*_`|~\[]|^\s{0,8}(?:[-+>#]{1,6}|\d{1,9}[.)])\s|\n", re.MULTILINE)
STRUCK = re.compile(r"(?<=<li>)(?:\s?<p>)?\[[ xX]\] |<(s|del|strike)>[^<]{0,300}</\1>")  # and the box of a task
# What looks like a tag, but is none that may stay open: "<Enter>"; "<code>" is a tag if it's closed.
KEPT_OPEN = "a|b|body|br|dd|div|dt|em|h[1-6r]|head|html|i|iframe|img|li|ol|p|script|span|strong|style|svg|t[dhr]|u|ul"
PLACEHOLDER = re.compile(rf"(?i)</?(?!(?:{KEPT_OPEN})(?![\w-]))([a-z][\w-]{{0,20}})")
CELL_END = re.compile(r"</t[dh]>\s*(?=<t[dh])")
BLOCK_END = re.compile(r"(?s)</?(?:br|div|h\d|li|p|tr)\b[^>]{0,200}>|<!--.*?(?:-->|\Z)")
WRAPPED = re.compile(r"(?<=[\w,])\n(?=[a-z])")  # the end of a line within a sentence
APOSTROPHES = str.maketrans(dict.fromkeys("‘’ʼ´`", "'"))


def read_text(path: Path, remedy: str) -> str:
    """Return the text of a UTF-8, UTF-16 or Windows-1252 file; FaqlabError, with a remedy, if it can't be read."""
    try:
        data, encoding = path.read_bytes(), "utf-8-sig"
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        elif not data.isascii() and b"\0" not in data and data.decode("utf-8", "ignore").isascii():
            log.warning("%s: not UTF-8, so it is read as Windows-1252.", path)
            encoding = "cp1252"  # which hardly ever looks like UTF-8
        return data.decode(encoding)
    except FileNotFoundError:
        raise FaqlabError(f"{path}: no such file; {remedy}.") from None
    except UnicodeDecodeError as error:
        raise FaqlabError(f"{path}: not UTF-8 (byte {error.start}); save the file as UTF-8.") from None
    except (OSError, ValueError) as error:  # a ValueError if the name has a null character
        raise FaqlabError(f"{path}: can't be read ({getattr(error, 'strerror', error)}); {remedy}.") from None


def write_text(path: Path, text: str, remedy: str) -> None:
    """Write *text* at once, so that the file never holds half of it; FaqlabError, with a remedy, if that fails."""
    try:
        # A file with a byte order mark, or in another encoding, gets a mark, by which Excel knows UTF-8.
        marked = path.exists() and path.read_bytes() != read_text(path, remedy).encode()
        write_aside(path.resolve(), text.encode("utf-8-sig" if marked else "utf-8"))
    except OSError as error:
        raise FaqlabError(f"{path}: can't be written ({error.strerror}); {remedy}.") from None
