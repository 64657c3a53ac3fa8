"""Shared parts, all of them real: the serving encoder, the committed FAQ, the command line."""

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
from faqlab.encoder import MINILM, Encoder, ReferenceEncoder, load_encoder
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.retriever import Retriever
from faqlab.settings import PROJECT_ROOT, Settings, settings

DATA = PROJECT_ROOT / "data"
BASELINE_FILE = Path(__file__).with_name("baseline.json")
MODEL_FOLDER = PROJECT_ROOT / "embeddings_cache" / "serving-all-minilm-l6-v2"

SMALL = [
    ("Where is my parcel?", "Follow the link in the email."),
    ("How do I pay?", "By card."),
    ("Can I return shoes?", "Yes, within 30 days."),
    ("Do you ship abroad?", "Yes, to forty countries."),
]


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_developers_own() -> Iterator[None]:
    """Neither a FAQLAB_ variable nor a `.env` of whoever runs the tests reaches them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FAQLAB_")]:
            patch.delenv(name)
        patch.setenv("FAQLAB_ENV_FILE", os.devnull)  # for the processes that tests start
        patch.setitem(Settings.model_config, "env_file", None)
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The serving encoder from the project's own cache: exported once, not once a run."""
    return load_encoder(MINILM, MODEL_FOLDER.parent)


@pytest.fixture(scope="session")
def reference() -> ReferenceEncoder:
    """sentence-transformers itself; some ten seconds."""
    return ReferenceEncoder()


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
def cache_dir(tmp_path: Path) -> Path:
    """An empty cache that already has the serving model, so that no process exports it again."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / MODEL_FOLDER.name).symlink_to(MODEL_FOLDER)
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
    """A real encoder that remembers what it was asked."""

    inner: Encoder
    name: str = MINILM
    fingerprint: str = "a" * 64
    texts: list[str] = field(default_factory=list)
    dimension: int = 384

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        self.texts += texts
        return self.inner.encode(texts, progress=progress)


@pytest.fixture
def counting(encoder: Encoder) -> CountingEncoder:
    return CountingEncoder(encoder)


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

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
    """Run `faqlab …` in this process, by the same `main`: a new cache, the baseline, the encoder loaded already."""
    monkeypatch.setenv("FAQLAB_CACHE_DIR", str(cache_dir))
    monkeypatch.setenv("FAQLAB_RETRIEVAL", str(BASELINE_FILE))
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


def assert_one_sentence(run: Run) -> None:
    """A user's mistake ends in status 2 and one line on stderr, never in a traceback."""
    assert run.status == 2
    assert run.out == ""
    assert run.err.startswith("faqlab: ")
    assert run.err.count("\n") == 1
    assert run.err.endswith(".\n")
    assert "Traceback" not in run.err
