"""
Inputs for `benchmarks.fuzz`, as strategies of hypothesis: most are nearly right, some are damaged, a few are random.

Long texts repeat a short part, on which a pattern whose time grows with the square of the length takes seconds.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
from hypothesis import strategies as st

from faqlab.cache import MANIFEST, sha256
from faqlab.config import RetrievalConfig
from faqlab.encoder import ADAPTER_FILES, MINILM
from faqlab.queries import COLUMNS
from faqlab.settings import Settings
from faqlab.text import replace_surrogates

Inputs = st.SearchStrategy

CANARY = "canary-of-a-secret"
"""Ends some settings, and begins the secret that signs tokens: no message and no answer may hold it."""

# Texts and JSON

ODD = ["", " ", "\n", "\0", "\u200b", "\u202e", "\u0300\u0316", "\ud800", "📦", "İ", "\x1b[2J", "'", '"', ",", ".", "-"]
ODD += ["a-", "a.", "a@", "and ", "? ", "please ", "not the first", "1 ", "$1-", "9am", "www.", "1e400", "=A1"]
PARTS = st.text(max_size=5) | st.sampled_from(ODD)
TEXTS = st.lists(st.builds(str.__mul__, PARTS, st.sampled_from([1, 1, 1, 20, 2000])), max_size=4).map("".join)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def mostly(right: Inputs[Any], wrong: Inputs[Any] = JSON, one_in: int = 20) -> Inputs[Any]:
    """Return *right*, but *wrong* for one input in *one_in*. (`one_of` counts a strategy that is named twice once.)"""
    return st.integers(1, one_in).flatmap(lambda number: wrong if number == one_in else right)


def dictionaries(**values: Inputs[Any]) -> Inputs[dict[str, Any]]:
    """Return dictionaries that have some of these keys."""
    return st.fixed_dictionaries({}, optional={key: mostly(value) for key, value in values.items()})


def encoded(texts: Inputs[str]) -> Inputs[bytes]:
    encodings = mostly(st.just("utf-8"), st.sampled_from(["utf-8-sig", "utf-16", "latin-1"]))
    return st.builds(lambda text, encoding: text.encode(encoding, "replace"), texts, encodings)


def damaged(files: Inputs[bytes]) -> Inputs[bytes]:
    change = st.tuples(st.integers(0, 9999), st.integers(0, 20), st.binary(max_size=5))
    changed = st.builds(_change, files, st.lists(change, min_size=1, max_size=3))
    return mostly(mostly(files, changed, one_in=3), st.binary(), one_in=10)


def _change(data: Any, changes: Sequence[tuple[int, int, Any]]) -> Any:
    for place, length, new in changes:
        start = place % (len(data) + 1)
        data = data[:start] + new + data[start + length :]
    return data


def json_files(values: Inputs[Any]) -> Inputs[bytes]:
    texts = st.builds(json.dumps, mostly(values), ensure_ascii=st.booleans())
    return damaged(encoded(mostly(texts, st.sampled_from(["[" * 9999, '{"a":' * 9999, "1" * 9999]))))


# Files

WORDS = mostly(TEXTS.map("Why {}".format), TEXTS)
ENTRY = st.fixed_dictionaries({"question": mostly(WORDS), "answer": mostly(WORDS)})
MORE = dictionaries(id=st.integers() | TEXTS, category=TEXTS, alternatives=st.lists(WORDS, max_size=3))
ENTRIES = st.lists(mostly(st.builds(dict.__or__, ENTRY, MORE)), max_size=4)
FAQ_FILES = json_files(st.fixed_dictionaries({"questions": mostly(ENTRIES)}))

VIEWS = st.lists(mostly(st.sampled_from(["question", "phrasings", "question_answer", "answer"]), TEXTS), max_size=4)
NUMBERS = st.integers(0, 20) | st.floats(0, 1) | st.floats(-2, 1001)
TEXT_FIELDS = {"encoder": TEXTS, "second_encoder": TEXTS, "views": VIEWS}
CONFIGURATION = dict.fromkeys([*RetrievalConfig.model_fields, "x"], NUMBERS) | TEXT_FIELDS
CONFIG_FILES = json_files(dictionaries(**CONFIGURATION))

NAMES = st.sampled_from([*COLUMNS, "query ", "Query", "x" * 2000]) | TEXTS
MANY = st.lists(NAMES, max_size=6) | st.just(["x"] * 16_000)
HEADERS = mostly(st.sampled_from([["query", "relevant"], [" query", "relevant", "kind"], [*COLUMNS]]), MANY, one_in=4)
IDS = st.integers().map(str)
LABELS = mostly(st.sampled_from(["0", "1 2", "3", ""]), TEXTS)
CELLS = {"query": WORDS, "relevant": LABELS, "split": st.sampled_from(["tune", "test"]), "id": IDS}


@st.composite
def _csv(draw: st.DrawFn) -> str:
    header, comma = draw(HEADERS), draw(mostly(st.just(","), st.sampled_from([";", "\t", "|"])))
    row = st.tuples(*(mostly(CELLS.get(name.strip(), TEXTS), TEXTS) for name in header[:9]))
    rows = [header, *draw(st.lists(row, min_size=1, max_size=3))]
    if draw(st.integers(1, 4)) == 4:
        return "\n".join(comma.join(row) for row in rows)
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=comma).writerows(rows)
    return file.getvalue()


QUERY_FILES = damaged(encoded(_csv()))

BASE = st.fixed_dictionaries({"name": mostly(st.just(MINILM))})
MANIFEST_OF_ADAPTER = {"sha256": mostly(st.just(sha256(b"matrices"))), "base": mostly(BASE)}
ADAPTERS = st.fixed_dictionaries(
    {
        ADAPTER_FILES[0]: json_files(JSON),
        ADAPTER_FILES[1]: mostly(st.just(b"matrices"), st.binary()),
        "manifest.json": json_files(mostly(st.fixed_dictionaries(MANIFEST_OF_ADAPTER))),
    }
)
"""The content of each file in the folder of an adapter, by name."""

# Caches

CACHED = {"one.bin": b"first file" * 50, "two.bin": b"second"}
MADE_FROM: dict[str, object] = {"faqs": "abc", "version": 1}
MANIFESTS = json_files(
    dictionaries(
        made_from=st.just(MADE_FROM) | st.dictionaries(TEXTS, JSON, max_size=3),
        sha256=st.dictionaries(
            st.sampled_from([*CACHED]) | TEXTS, st.sampled_from([*map(sha256, CACHED.values())]) | TEXTS, max_size=3
        ),
    )
)


PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path.name),
}
REPLACEMENTS = st.sampled_from([*PLACES]) | st.binary() | MANIFESTS
DAMAGED_CACHES = mostly(st.dictionaries(st.sampled_from(["", *CACHED, MANIFEST]), REPLACEMENTS), st.just({}))
"""What each of the files of a cache is replaced by: a content, or one of `PLACES`. "" is their folder."""


def damage(path: Path, by: str | bytes) -> None:
    """Replace the file or folder *path* as a value of `DAMAGED_CACHES` says."""
    if path.parent.is_dir():  # it may have been replaced itself
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(by) if isinstance(by, bytes) else PLACES[by](path)


# Settings

VALUES = st.one_of(
    TEXTS.map(lambda text: replace_surrogates(text).replace("\0", "")),
    st.sampled_from(
        ["inf", "-inf", "nan", "1e12", "1e400", "-1", "0", "1", "65536", "8000", "0x10", "1_0", "١٢", "[]"]
    ),
    st.sampled_from(
        ["ws://[::1", "ws://[::1]:9", "ws://a:b", "ws://a:999999", "wss://π.example", "wss://", "ws://a;b"]
    ),
    st.sampled_from(
        ["wss://a.livekit.cloud", "a.example b.example", "*", "*a", "a*b", "https://ö.example", "~nobody/x"]
    ),
)
NAMED = [str(info.validation_alias or f"FAQLAB_{name.upper()}") for name, info in Settings.model_fields.items()]
VARIABLES = st.dictionaries(
    st.sampled_from([*NAMED, *NAMED[-4:] * 3]),  # keys and addresses of services matter most
    st.builds(str.__add__, VALUES, st.sampled_from(["", "", CANARY])),
    max_size=5,
)
ENV_FILES = damaged(VARIABLES.map(lambda given: "\n".join(f"{name}={given[name]}" for name in given).encode()))

# Tokens


@st.composite
def tokens(draw: st.DrawFn, token: str, secret: str) -> str:
    """Return *token* with characters changed, or with other claims and any signature."""
    if draw(st.booleans()):
        change = st.tuples(st.integers(0, 9999), st.integers(0, 3), st.text(max_size=3))
        return str(_change(token, draw(st.lists(change, min_size=1, max_size=3))))
    header, claims, signature = token.split(".")
    algorithm = draw(st.sampled_from(["HS256", "none", "None", "HS384", "RS256", ""]))
    changes = draw(st.dictionaries(st.sampled_from(["exp", "nbf", "iss", "sub", "video", "x"]), JSON))
    other = jwt.encode({}, draw(st.sampled_from([secret, "x" * 32])), algorithm="HS256").split(".")[2]
    parts = [_part(header, {"alg": algorithm}), _part(claims, changes), draw(st.sampled_from([signature, other, ""]))]
    return ".".join(parts)


def _part(part: str, changes: Mapping[str, Any]) -> str:
    """Return a part of a token with some keys changed."""
    data = json.loads(urlsafe_b64decode(part + "=="))
    return urlsafe_b64encode(json.dumps(data | changes).encode()).decode().rstrip("=")


# Requests

STEPS = ["getToken", "", "health", "assets", "page.js", "openapi.json", "..", "%2e%2e", "..%2fsecret", "%00", "x" * 256]
PATHS = mostly(st.sampled_from(STEPS[:2]), st.lists(st.sampled_from(STEPS) | TEXTS, max_size=4).map("/".join), one_in=2)
FIELDS = [b"host", b"origin", b"content-type", b"content-length", b"range", b"if-none-match", b"if-modified-since"]
FIELDS += [b"access-control-request-method", b"access-control-request-headers", b"transfer-encoding", b"accept", b"x"]
CONTENTS = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40).map(
    lambda text: text.encode("latin-1")
) | st.sampled_from([b"127.0.0.1", b"http://127.0.0.1:8000", b"application/json", b"bytes=0-", b"bytes=9-1", b"POST"])
SOME_HEADERS = st.lists(st.tuples(st.sampled_from(FIELDS), CONTENTS), max_size=3)
OTHER_METHODS = ["POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"]
REQUESTS = st.fixed_dictionaries(
    {
        "method": mostly(st.just("GET"), st.sampled_from(OTHER_METHODS), one_in=4),
        "path": PATHS.map(lambda path: "/" + quote(replace_surrogates(path)[:2000], safe="/%?=&")),
        "headers": mostly(st.just([(b"content-type", b"application/json")]), SOME_HEADERS, one_in=2),
        "content": st.just(b"") | json_files(JSON),
    }
)
