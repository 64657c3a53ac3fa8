"""What tests share: the serving encoder, the committed FAQ, the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from faqlab import cli as command_line
from faqlab.encoder import MINILM, Encoder, load_encoder
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.retriever import Retriever
from faqlab.settings import PROJECT_ROOT, Settings, settings
from faqlab.small_talk import SmallTalk

DATA = PROJECT_ROOT / "data"
MODEL_FOLDER = PROJECT_ROOT / "embeddings_cache" / "serving-all-minilm-l6-v2"

SMALL = [
    ("Where is my parcel?", "Follow the link in the email."),
    ("How do I pay?", "By card."),
    ("Can I return shoes?", "Yes, within 30 days."),
    ("Do you ship abroad?", "Yes, to forty countries."),
]


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_developer() -> Iterator[None]:
    """No `FAQLAB_` variable and no `.env` of the developer reaches the tests or the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FAQLAB_")]:
            patch.delenv(name)
        patch.setenv("FAQLAB_ENV_FILE", os.devnull)
        patch.setitem(Settings.model_config, "env_file", None)
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The baseline's serving encoder, from the project's own cache."""
    return load_encoder(MINILM, MODEL_FOLDER.parent)


@pytest.fixture(scope="session")
def small_talk(encoder: Encoder) -> SmallTalk:
    return SmallTalk.load(encoder)


@pytest.fixture(scope="session")
def ecommerce() -> FaqSet:
    return FaqSet.load(DATA / "ecommerce.json")


@pytest.fixture(scope="session")
def queries(ecommerce: FaqSet) -> pd.DataFrame:
    return load_queries(DATA / "queries.csv", ecommerce)


@pytest.fixture(scope="session")
def retriever(ecommerce: FaqSet, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    """The baseline over the committed FAQ."""
    return Retriever.build(ecommerce, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def cache_dir(tmp_path: Path, small_talk: SmallTalk) -> Path:
    """A cache that has the ONNX model and what recognises small talk, but no index."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for cached in (MODEL_FOLDER, *MODEL_FOLDER.parent.glob("small_talk-*")):
        (folder / cached.name).symlink_to(cached)
    return folder


WriteFaqs = Callable[..., Path]


@pytest.fixture
def write_faqs(tmp_path: Path) -> WriteFaqs:
    """Write (question, answer) pairs as an FAQ file without ids."""

    def write(pairs: Sequence[tuple[str, str]] = SMALL, name: str = "mine.json") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {"questions": [{"question": question, "answer": answer} for question, answer in pairs]}
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return write


@dataclass
class CountingEncoder:
    """An encoder that remembers the texts it has encoded."""

    inner: Encoder
    name: str = MINILM
    fingerprint: str = "a" * 64
    texts: list[str] = field(default_factory=list)
    dimension: int = 384

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        return self.inner.encode(texts)


@pytest.fixture
def counting(encoder: Encoder) -> CountingEncoder:
    return CountingEncoder(encoder)


@dataclass(frozen=True)
class Run:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Run]


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache_dir: Path, encoder: Encoder
) -> Iterator[Cli]:
    """Run `faqlab …` in this process, by its own `main`: an empty cache, the baseline, the encoder loaded already."""
    (cache_dir / "baseline.json").write_text("{}")
    monkeypatch.setenv("FAQLAB_CACHE_DIR", str(cache_dir))
    monkeypatch.setenv("FAQLAB_RETRIEVAL", str(cache_dir / "baseline.json"))
    monkeypatch.setattr("faqlab.retriever.load_encoder", lambda name, folder: encoder)

    def run(*arguments: object) -> Run:
        settings.cache_clear()
        monkeypatch.setattr("sys.argv", ["faqlab", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            command_line.main()
        captured = capsys.readouterr()
        return Run(int(end.value.code or 0), captured.out, captured.err)

    yield run
    settings.cache_clear()


def assert_one_sentence(run: Run, *parts: object) -> None:
    """A mistake of the user ends in status 2 and one line on stderr that has all *parts*, never in a traceback."""
    assert (run.status, run.out, run.err.count("\n")) == (2, "", 1)
    assert run.err.startswith("faqlab: ")
    assert run.err.endswith(".\n")
    for part in parts:
        assert str(part) in run.err
