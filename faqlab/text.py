"""Text as it comes from outside: out of files, arguments and callers' mouths."""

from __future__ import annotations

import re
from pathlib import Path

from faqlab.errors import FaqlabError


def says_something(text: str) -> bool:
    """Whether *text* holds more than spaces and control characters."""
    return any(c.isprintable() and not c.isspace() for c in text)


def has_words(text: str) -> bool:
    """Whether *text* holds a letter or a digit of any script: something that can be asked."""
    return any(c.isalnum() for c in text)


def plain(text: str) -> str:
    """Return *text* without what cannot be heard and is left out in a hurry: capitals, marks, doubled spaces."""
    return " ".join("".join(c if c.isalnum() else " " for c in re.sub("['’]", "", text.lower())).split())


def whole(text: str) -> str:
    """Return *text* with a question mark for each half of a surrogate pair, which can be neither hashed nor shown."""
    return text.encode("utf-8", "replace").decode()


def read_text(path: Path, remedy: str) -> str:
    """
    Return the text of a UTF-8 file, without its byte order mark.

    Args:
        path: The file.
        remedy: What to do where there is none, or it cannot be read: "name your FAQ by --faqs".

    Raises:
        FaqlabError: the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise FaqlabError(f"{path}: no such file: {remedy}.") from None
    except OSError as error:
        raise FaqlabError(f"{path}: cannot be read ({error.strerror}): {remedy}.") from None
    except UnicodeDecodeError as error:
        raise FaqlabError(f"{path}: not UTF-8 (byte {error.start}): save the file as UTF-8.") from None
