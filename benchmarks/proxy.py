"""Join a room on this machine even if the environment names an HTTP proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from faqlab.voice.livekit_server import LiveKit

_lock = Lock()
_joining = 0
_hidden: dict[str, str] = {}


@contextmanager
def joining_directly(url: str) -> Iterator[None]:
    """Hide HTTP_PROXY if *url* is on this machine: LiveKit's Rust SDK uses it for any ws:// URL, despite NO_PROXY."""
    global _joining
    names = ("HTTP_PROXY", "http_proxy") if LiveKit(url, "", "").local else ()
    with _lock:
        _hidden.update({name: os.environ.pop(name) for name in names if name in os.environ})
        _joining += 1
    try:
        yield
    finally:
        with _lock:
            _joining -= 1
            if not _joining:  # the last of several that join at once
                os.environ.update(_hidden)
                _hidden.clear()
