"""What the voice tests share: the real livekit-server, and one that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faqlab.voice.sfu import LiveKit, LocalServer, build_server


@pytest.fixture(scope="session")
def livekit_program() -> Path:
    return build_server(print)


@pytest.fixture(scope="session")
def livekit_server(livekit_program: Path) -> Iterator[LiveKit]:
    with LocalServer(livekit_program) as livekit:
        yield livekit
