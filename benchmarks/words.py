"""Text as word error rates compare it."""

from __future__ import annotations

import re


def normalise_words(text: str) -> str:
    """Return *text* in lower case, without punctuation and repeated spaces."""
    return " ".join("".join(c if c.isalnum() else " " for c in re.sub("['’]", "", text.lower())).split())
