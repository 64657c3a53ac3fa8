"""What the voice tests share: the real livekit-server, a small FAQ, and a running demo."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scripted_caller import ScriptedCaller, join
from faqlab.config import RetrievalConfig
from faqlab.encoder import Encoder
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import Settings
from faqlab.voice.demo import LiveDemo
from faqlab.voice.livekit_server import LiveKit, LocalServer, program


@pytest.fixture(scope="session")
def livekit_program() -> Path:
    return program()


@pytest.fixture(scope="session")
def livekit_server(livekit_program: Path) -> Iterator[LiveKit]:
    with LocalServer(livekit_program) as server:
        yield server.livekit


SHORT = [
    ("parcel", "Where is my parcel?", "Follow the link in your shipping email."),
    ("pay", "How can I pay?", "You can pay by card, or by invoice."),
    ("shoes", "Can I return shoes?", "Yes, you can return shoes within thirty days."),
    ("gift", "Can I return a gift?", "Yes, with the gift receipt."),
    ("abroad", "Do you deliver abroad?", "Yes, we deliver to forty countries."),
]
"""An FAQ whose answers are short to listen to, and two of whose entries are similar."""


@pytest.fixture(scope="session")
def short_faq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faq") / "short.json"
    entries = [{"id": faq_id, "question": question, "answer": answer} for faq_id, question, answer in SHORT]
    path.write_text(json.dumps({"questions": entries}))
    return path


@pytest.fixture(scope="session")
def short_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "retrieval.json"
    RetrievalConfig(top_k=3, scale=20.0, null_cosine=0.45, decline_below=0.5, answer_from=0.9).save(path)
    return path


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def keyless() -> Settings:
    """Settings without a key, whatever the developer has."""
    return Settings(google_api_key=None, livekit_url=None, livekit_api_key=None, livekit_api_secret=None)


@pytest.fixture(scope="session")
def demo(
    livekit_program: Path, short_faq: Path, short_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveDemo]:
    """The whole demo, running, with records: LiveKit server, page, tokens and agent."""
    records = tmp_path_factory.mktemp("records")
    with LiveDemo(faqs=short_faq, config=short_config, records=records, settings=keyless()) as demo:
        yield demo


def caller_of(demo: LiveDemo) -> AbstractAsyncContextManager[ScriptedCaller]:
    """Return a scripted caller who joins the demo's next call, and is patient enough for a slow machine."""
    return join(demo, timeout=90)


@pytest.fixture(scope="session")
def short_retriever(
    short_faq: Path, short_config: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> Retriever:
    """A retriever over the small FAQ, on the encoder that isn't tuned."""
    config = RetrievalConfig.load(short_config)
    return Retriever.build(FaqSet.load(short_faq), config, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))
