"""What LiveKit's SDK does wrong unless it is stopped: it uses proxies for this machine, and logs too much."""

from __future__ import annotations

import logging
import os

import psutil
from livekit import rtc


def forget_proxy() -> None:
    """Remove HTTP_PROXY from the environment: LiveKit's Rust SDK uses it for any ws:// URL, despite NO_PROXY."""
    for name in ("HTTP_PROXY", "http_proxy"):
        os.environ.pop(name, None)


def has_network() -> bool:
    """Whether there is a network other than loopback: LiveKit's SDK doesn't use that, and can't be told to."""
    return any(interface.isup and "loopback" not in interface.flags for interface in psutil.net_if_stats().values())


def quiet_sdk() -> None:
    """Keep LiveKit's log away from terminals and notebooks, except the agent's errors."""
    # livekit 1.1 logs by `logging.info` there, which would give the root logger a handler that writes to stderr.
    rtc.room.logging = logging.getLogger("livekit")  # type: ignore[assignment]
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # the SDK logs as errors what it recovers from
    logging.getLogger("livekit.agents").setLevel(logging.ERROR)
