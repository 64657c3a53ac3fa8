"""What the voice tests share: the real livekit-server, and one that runs."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from faqlab.retriever import RetrievalConfig
from faqlab.settings import Settings
from faqlab.voice.caller import Caller
from faqlab.voice.demo import LiveDemo
from faqlab.voice.ears import Ears
from faqlab.voice.sfu import LiveKit, LocalServer, build_server


@pytest.fixture(scope="session")
def livekit_program() -> Path:
    return build_server(print)


@pytest.fixture(scope="session")
def livekit_server(livekit_program: Path) -> Iterator[LiveKit]:
    with LocalServer(livekit_program) as livekit:
        yield livekit


SHORT = [
    ("Where is my parcel?", "Follow the link in your shipping email."),
    ("How can I pay?", "You can pay by card, or by invoice."),
    ("Can I return shoes?", "Yes, you can return shoes within thirty days."),
    ("Do you deliver abroad?", "Yes, we deliver to forty countries."),
    (
        "How does the guarantee work?",
        "Everything that we sell has a guarantee of two years. It covers all faults of material and of making. "
        "Bring the thing and its receipt to a shop of ours, and we mend or replace it within ten days.",
    ),
]
"""An FAQ whose answers are soon said, and a long one to interrupt."""


@pytest.fixture(scope="session")
def short_faq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faq") / "short.json"
    path.write_text(
        json.dumps({"questions": [{"id": q.split()[-1].strip("?"), "question": q, "answer": a} for q, a in SHORT]})
    )
    return path


@pytest.fixture(scope="session")
def short_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "retrieval.json"
    RetrievalConfig(top_k=3, scale=20.0, none=0.45, decline_below=0.5).save(path)
    return path


def keyless() -> Settings:
    """Settings without a key, whatever the developer has."""
    return Settings(google_api_key=None, livekit_url=None, livekit_api_key=None, livekit_api_secret=None)


@pytest.fixture(scope="session")
def demo(livekit_program: Path, short_faq: Path, short_config: Path) -> Iterator[LiveDemo]:
    """The whole of it, running: server, page, tokens and agent."""
    with (
        pytest.MonkeyPatch.context() as patch,
        LiveDemo(faqs=short_faq, config=short_config, settings=keyless()) as demo,
    ):
        patch.setattr("faqlab.voice.agent.GREETING", "Hello! How can I help?")  # soon said
        yield demo


def caller_of(demo: LiveDemo, hearing: Ears | None = None) -> Caller:
    """A caller with a token from the demo's token server."""
    with urllib.request.urlopen(demo.url + "getToken") as response:
        token = json.load(response)
    return Caller(token["url"], token["token"], hearing=hearing)


def plain(text: str) -> str:
    """Text without what ears cannot tell: case and marks."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
