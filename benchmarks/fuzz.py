"""
Try inputs that are wrong or nearly right, and count those that end in an exception that a user would see.

The only allowed ends are a valid result and a refusal: a `FaqlabError` of one short sentence, a status below 500, or
for a token, PyJWT's own error. `tests/test_fuzz.py` tries fewer of the same inputs.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import hypothesis
import jwt
import numpy as np
import pandas as pd
import typer
from hypothesis import HealthCheck, Phase
from livekit.api import TokenVerifier
from starlette.testclient import TestClient

from benchmarks import command
from benchmarks import fuzz_inputs as inputs
from faqlab.cache import MANIFEST, load_or_build
from faqlab.config import RetrievalConfig
from faqlab.conversation import Conversation
from faqlab.encoder import find_weights
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.queries import load_queries
from faqlab.replies import reply
from faqlab.retriever import Retriever
from faqlab.settings import Settings, settings
from faqlab.small_talk import SmallTalk
from faqlab.text import replace_surrogates
from faqlab.voice.livekit_server import LiveKit, livekit_from_settings
from faqlab.voice.spoken_text import speakable
from faqlab.voice.token_server import create_app, mint_token

ROUND = 1000
"""Inputs from one seed: with more, hypothesis remembers too much and slows down."""


def main(
    number: Annotated[int, typer.Option("--number", min=1, metavar="N", help="Try N inputs in all.")] = 10_000,
    only: Annotated[str | None, typer.Option(metavar="KIND", help="Try one kind only.")] = None,
    as_json: command.JsonOption = False,
) -> None:
    """Try random files, settings, questions, tokens and requests; count the exceptions that users would see."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        kinds = {name: kind for name, kind in Program(Path(folder), running).kinds().items() if only in (None, name)}
        if not kinds:
            raise FaqlabError(f"--only {only}: no such kind.")
        tallies = {name: fuzz(kind, -(-number // len(kinds))) for name, kind in kinds.items()}
    for name, tally in tallies.items():
        for line in (*tally.exceptions[:5], f"the slowest was {tally.slowest}"):
            command.progress(f"{name}: {line}")
    rows = {name: tally.as_row() for name, tally in tallies.items()}
    if as_json:
        command.print_json(rows)
    else:
        typer.echo(pd.DataFrame.from_dict(rows, orient="index").to_string(float_format="{:.0f}".format))


@dataclass(frozen=True)
class Kind:
    """Inputs of one kind, and what the program does with one."""

    inputs: inputs.Inputs[Any]
    check: Callable[[Any], bool]  # whether it refuses the input; raises any exception that a user would see


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    tried: int = 0
    refused: int = 0
    exceptions: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds of processor time, because the machine may be busy
    slowest: str = ""

    def as_row(self) -> dict[str, float]:
        counts = {"tried": self.tried, "refused": self.refused, "exceptions": len(self.exceptions)}
        return {**counts, "longest, CPU ms": self.longest * 1e3}


def fuzz(kind: Kind, number: int, *, stop: bool = False) -> Tally:
    """Try *number* inputs, the same at each run; with *stop*, raise the first exception, for the simplest input."""
    tally = Tally()

    def attempt(value: Any) -> None:
        gc.disable()  # what hypothesis remembers takes long to collect
        start = time.process_time()
        try:
            tally.refused += kind.check(value)
        except Exception as error:
            tally.exceptions.append(f"{error!r:.300} from {value!r:.300}")
            if stop:
                raise
        finally:
            gc.enable()
        tally.tried += 1
        if (seconds := time.process_time() - start) > tally.longest:
            tally.longest, tally.slowest = seconds, f"{value!r:.200}"

    with _checked_log():
        while tally.tried < number:
            options = hypothesis.settings(
                max_examples=min(ROUND, number - tally.tried),
                phases=[Phase.generate, Phase.shrink] if stop else [Phase.generate],
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            hypothesis.seed(tally.tried)(options(hypothesis.given(kind.inputs)(attempt)))()
    return tally


class Program:
    """The parts of the program that read what comes from outside, with their files in *folder*."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.folder, self.page, self.encoder = folder, folder / "page", Letters()
        (self.page / "assets").mkdir(parents=True)
        (self.page / "index.html").write_text("<title>Ask the FAQ</title>")
        (self.page / "assets" / "page.js").write_text("talk()")
        (folder / "secret").write_text(inputs.CANARY)
        self.faqs = FaqSet(tuple(Faq(str(n), question, answer) for n, (question, answer) in enumerate(ENTRIES)))
        with _environment({"FAQLAB_CACHE_DIR": str(folder / "cache"), "FAQLAB_TOKENS_PER_MINUTE": "1000000"}):
            self.small_talk, plain = SmallTalk.load(self.encoder), settings()
        self.retriever = self._retriever(self.faqs)
        self.livekit = LiveKit("ws://127.0.0.1:9", f"key-{inputs.CANARY}", f"{inputs.CANARY}-{'x' * 32}")
        self.token = mint_token(self.livekit, plain)
        self.client = running.enter_context(self._client(self.livekit, plain))

    def kinds(self) -> dict[str, Kind]:
        """Return what can be tried, by name."""
        altered = inputs.tokens(self.token, self.livekit.api_secret)
        return {
            "FAQ files": Kind(inputs.FAQ_FILES, self.read_faq),
            "query files": Kind(inputs.QUERY_FILES, self.read_queries),
            "configurations": Kind(inputs.CONFIG_FILES, self.read_config),
            "adapters": Kind(inputs.ADAPTERS, self.read_adapter),
            "caches": Kind(inputs.DAMAGED_CACHES, self.read_cache),
            "settings": Kind(inputs.st.tuples(inputs.VARIABLES, inputs.ENV_FILES), self.read_settings),
            "questions": Kind(inputs.st.lists(inputs.TEXTS, min_size=1, max_size=3), self.ask),
            "tokens": Kind(altered, self.verify),
            "requests": Kind(inputs.REQUESTS, self.request),
        }

    def read_faq(self, data: bytes) -> bool:
        path = self.folder / "mine.json"
        path.write_bytes(data)

        def load_and_ask() -> None:
            faqs = FaqSet.load(path)
            self._converse(self._retriever(faqs), [faqs.entries[0].question])

        return _refused(load_and_ask)

    def read_queries(self, data: bytes) -> bool:
        path = self.folder / "mine.csv"
        path.write_bytes(data)
        return _refused(lambda: load_queries(path, self.faqs))

    def read_config(self, data: bytes) -> bool:
        path = self.folder / "retrieval.json"
        path.write_bytes(data)

        def load_and_save() -> None:
            RetrievalConfig.load(path).save(path)
            RetrievalConfig.load(path)

        return _refused(load_and_save)

    def read_adapter(self, files: Mapping[str, bytes]) -> bool:
        adapter = self.folder / "adapter"
        adapter.mkdir()
        for name, data in files.items():
            (adapter / name).write_bytes(data)
        try:
            return _refused(lambda: find_weights(str(adapter)))
        finally:
            shutil.rmtree(adapter)

    def read_cache(self, damaged: Mapping[str, str | bytes]) -> bool:
        cache, builds = self.folder / "cached", []

        def build() -> Mapping[str, bytes]:
            builds.append(1)
            return inputs.CACHED

        def load() -> None:
            assert load_or_build(cache, list(inputs.CACHED), inputs.MADE_FROM, build, "it") == inputs.CACHED
            assert {path.name for path in cache.iterdir()} == {*inputs.CACHED, MANIFEST}

        load()
        builds.clear()
        for name, by in damaged.items():
            inputs.damage(cache / name, by)
        load()
        load()
        assert len(builds) <= 1, "built twice"
        return bool(builds)

    def read_settings(self, given: tuple[dict[str, str], bytes]) -> bool:
        variables, env_file = given
        path = self.folder / ".env"
        path.write_bytes(env_file)

        def serve() -> None:
            livekit = livekit_from_settings(settings()) or self.livekit
            for place in ("/", "/getToken"):
                assert self._client(livekit, settings()).get(place).status_code == 200

        with _environment(variables, path):
            return _refused(serve)

    def ask(self, texts: Sequence[str]) -> bool:
        return _refused(lambda: self._converse(self.retriever, texts))

    def verify(self, token: str) -> bool:
        try:
            TokenVerifier(self.livekit.api_key, self.livekit.api_secret).verify(token)
        except jwt.PyJWTError:
            return True
        # Base64 has several spellings of one signature, but what is signed has only one.
        assert token.rpartition(".")[0] == self.token.rpartition(".")[0], "an altered token is accepted"
        return False

    def request(self, request: Mapping[str, Any]) -> bool:
        url = f"{self.client.base_url}{request['path']}"  # whole, because httpx refuses a path of "//"
        options = {name: request[name] for name in ("headers", "content")}
        answer = self.client.request(request["method"], url, **options, follow_redirects=False)
        assert answer.status_code < 500, answer.text
        assert inputs.CANARY not in f"{answer.text} {answer.headers}", "a secret is shown"
        if answer.status_code >= 400 and answer.headers.get("content-type") == "application/json" and answer.text:
            assert len(answer.json()["detail"]) <= 300
        return answer.status_code >= 400

    def _retriever(self, faqs: FaqSet) -> Retriever:
        return Retriever.build(faqs, CONFIG, encoder=self.encoder, cache_dir=self.folder / "cache")

    def _converse(self, retriever: Retriever, texts: Sequence[str]) -> None:
        conversation = Conversation(retriever, self.small_talk)
        for text in texts:
            conversation.intent(text)
            speakable(reply(conversation.ask(text), retriever.faqs))

    def _client(self, livekit: LiveKit, given: Settings) -> TestClient:
        return TestClient(create_app(livekit, given, self.page), base_url="http://127.0.0.1:8000")


def _refused(attempt: Callable[[], object]) -> bool:
    """Return whether *attempt* raises a FaqlabError."""
    try:
        attempt()
    except FaqlabError as error:
        _check_sentence(str(error))
        return True
    return False


def _check_sentence(message: str) -> None:
    assert len(message) <= 300 and message.isprintable() and message.endswith("."), f"no short sentence: {message!r}"
    assert inputs.CANARY not in message, f"a secret is shown: {message!r}"


@contextmanager
def _checked_log() -> Iterator[None]:
    """Check the program's log line by line rather than print it."""

    class Check(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _check_sentence(record.getMessage())

    log, dotenv = logging.getLogger("faqlab"), logging.getLogger("dotenv.main")
    with (
        mock.patch.multiple(log, handlers=[Check()], propagate=False),
        mock.patch.object(dotenv, "disabled", True),
        warnings.catch_warnings(action="ignore"),  # of short keys, for example
    ):
        yield


@contextmanager
def _environment(variables: Mapping[str, str], file: Path | None = None) -> Iterator[None]:
    """Have the settings read from these *variables* and this *file* alone."""
    with mock.patch.dict(os.environ, variables, clear=True), mock.patch.dict(Settings.model_config, env_file=file):
        settings.cache_clear()
        yield
    settings.cache_clear()


class Letters:
    """An encoder that counts bytes: nothing to load, and fast."""

    name, fingerprint, dimension = "letters", "0" * 64, 64

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        codes = [np.frombuffer(f" {replace_surrogates(text)}".encode(), np.uint8) % 64 for text in texts]
        vectors = np.array([np.bincount(each, minlength=64) for each in codes], np.float32).reshape(-1, 64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


CONFIG = RetrievalConfig(
    views=("question", "phrasings", "question_answer", "answer"),
    ngram_weight=0.3,
    scale=20.0,
    decline_below=0.3,
    answer_from=0.5,
)
ENTRIES = [
    ("Where is my parcel?", "Follow the link in the email."),
    ("How do I pay?", "By card, at shop.example.com."),
    ("Can I return shoes?", "Yes, within 30 days."),
    ("Can I return a gift?", "Yes, with the receipt, Mon–Fri, 9am–5pm."),
]

if __name__ == "__main__":
    command.run(main)
