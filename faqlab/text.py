"""Text that comes from outside: files, arguments and transcripts."""

import codecs
import logging
import re
import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from faqlab.cache import write_aside
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT

KNOWN: dict[str, Any] = tomllib.loads((PROJECT_ROOT / "data/formats.toml").read_text(encoding="utf-8"))
IS = {name: re.compile(pattern) for name, pattern in KNOWN["patterns"].items()}

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
    if not IS["markup"].search(text):
        return text
    from bs4 import BeautifulSoup  # imported here because most texts have no markup, and it takes time
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark").disable("code").enable(["table", "strikethrough"])
    html = IS["struck"].sub("", markdown.render(re.sub(r"(?<=\d)\*(?=\d)", "×", text)))  # no emphasis, but 3*4
    closed = set(re.findall(r"</([\w-]{1,20})>", html))
    html = IS["placeholder"].sub(lambda tag: tag[0] if tag[1] in closed else f"&lt;{tag[0][1:]}", html)
    soup = BeautifulSoup(IS["block_end"].sub("\n\n", IS["cell_end"].sub(", ", html)), "html.parser")
    lines = (" ".join(line.split()) for line in IS["wrapped"].sub(" ", soup.get_text()).splitlines())
    return "\n".join(f"{line}." if line[-1].isalnum() else line for line in lines if line)


APOSTROPHES = str.maketrans(dict.fromkeys("‘’ʼ´`", "'"))


def render(template: str, **values: Any) -> str:
    """Return *values* in a template of the folder `templates`, escaped if it is HTML."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(loader=PackageLoader("faqlab"), autoescape=select_autoescape(), trim_blocks=True)
    return environment.get_template(template).render(values)


def read_text(path: Path, remedy: str) -> str:
    """Return the text of a UTF-8, UTF-16 or Windows-1252 file; FaqlabError, with a remedy, if it can't be read."""
    try:
        data, encoding = path.read_bytes(), "utf-8-sig"
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        elif b"\0" in data[:2]:  # UTF-16 without a byte order mark, whose first character is in ASCII
            encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
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


def write_text(path: Path, text: str, remedy: str, check: Callable[[Path], object] = lambda aside: None) -> None:
    """Write *text* at once, if *check* accepts a file of it, or leave *path* as it is: FaqlabError, with a remedy."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # such as /dev/null, which would be replaced
            raise FaqlabError(f"{path}: isn't an ordinary file; {remedy}.")
        # A file with a byte order mark, or in another encoding, gets a mark, by which Excel knows UTF-8.
        marked = path.exists() and path.read_bytes() != read_text(path, remedy).encode()
        write_aside(path.resolve(), text.encode("utf-8-sig" if marked else "utf-8"), check)
    except FaqlabError as error:
        raise FaqlabError(re.sub(r"\.[0-9a-f]{32}\.", "", str(error))) from None  # it names the file of `write_aside`
    except OSError as error:
        raise FaqlabError(f"{path}: can't be written ({error.strerror}); {remedy}.") from None
