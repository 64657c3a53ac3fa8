"""Joining rooms past an HTTP proxy that the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

PROXIES = ("HTTP_PROXY", "http_proxy")
"""LiveKit's Rust SDK takes every ws:// address that way, 127.0.0.1 too, whatever NO_PROXY says; wss:// has others."""

_lock = Lock()
_joining = 0
_hidden: dict[str, str] = {}


@contextmanager
def joining_directly(url: str) -> Iterator[None]:
    """Hide the proxies of the environment, where *url* is on this machine, while a room is joined."""
    global _joining
    if not url.startswith(("ws://127.0.0.1", "ws://localhost")):
        yield
        return
    with _lock:
        if _joining == 0:
            _hidden.update({name: os.environ.pop(name) for name in PROXIES if name in os.environ})
        _joining += 1
    try:
        yield
    finally:
        with _lock:
            _joining -= 1
            if _joining == 0:
                os.environ.update(_hidden)
                _hidden.clear()
