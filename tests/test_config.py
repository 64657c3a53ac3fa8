"""The configuration is kept in a file, checked when it's read, and written the same by a rerun."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from faqlab.config import BASELINE, WITHOUT_SECOND, RetrievalConfig
from faqlab.encoder import BGE, SERVED
from faqlab.errors import FaqlabError
from faqlab.settings import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "retrieval.json"


def test_an_empty_configuration_is_the_baseline(path: Path) -> None:
    path.write_text("{}")
    assert RetrievalConfig.load(path) == BASELINE
    assert BASELINE.model_dump() == {
        "encoder": "all-MiniLM-L6-v2",
        "second_encoder": "",
        "views": ("question",),
        "top_k": 3,
        "ngram_weight": 0.0,
        "scale": None,
        "scope_scale": 20.0,
        "topic_weight": 0.0,
        "null_cosine": 0.5,
        "decline_below": 0.0,
        "scope_from": 0.0,
        "answer_from": 0.0,
    }


def test_a_configuration_can_be_saved_and_loaded(path: Path) -> None:
    config = RetrievalConfig(views=("question", "answer"), top_k=5, scale=22.5, ngram_weight=0.3, decline_below=0.6)
    for one in (config, BASELINE):
        one.save(path)
        assert RetrievalConfig.load(path) == one


def test_a_rerun_with_a_slightly_different_result_writes_the_same_bytes(path: Path) -> None:
    RetrievalConfig(null_cosine=0.41249999).save(path)
    first = path.read_bytes()
    assert json.loads(first)["null_cosine"] == 0.412
    RetrievalConfig(null_cosine=0.4124).save(path)
    assert path.read_bytes() == first
    RetrievalConfig.load(path).save(path)
    assert path.read_bytes() == first


def test_if_the_file_of_the_settings_is_missing_it_is_the_projects_with_a_warning_and_without_that_the_baseline(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FaqlabError, match=r"retrieval\.json: no such file; fix it, or name another configuration\.$"):
        RetrievalConfig.load(path)
    monkeypatch.setattr("faqlab.config.settings", lambda: Settings(retrieval=path))
    projects = path.with_name("projects.json")
    BASELINE.with_changes(top_k=7).save(projects)
    monkeypatch.setattr("faqlab.config.RETRIEVAL", projects)
    assert RetrievalConfig.load() == RetrievalConfig.load(path) == RetrievalConfig.load(projects) != BASELINE
    record, _ = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path}: no such file, so projects.json is used")
    monkeypatch.setattr("faqlab.config.RETRIEVAL", path)
    assert RetrievalConfig.load(path) == BASELINE
    assert len(caplog.records) == 2


def test_where_the_second_encoder_is_not_set_up_the_numbers_for_one_are_used(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    config = RetrievalConfig(encoder="data/encoder", second_encoder="data/encoder_bge", scale=20.0)
    config.save(path)
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setitem(SERVED, BGE, (tmp_path, SERVED[BGE][1]))
    assert RetrievalConfig.load(path) == config
    monkeypatch.setitem(SERVED, BGE, (tmp_path / "bge-small-en-v1.5", SERVED[BGE][1]))
    alone = RetrievalConfig.load(path)
    assert alone == RetrievalConfig.load(WITHOUT_SECOND)
    assert (alone.encoder, alone.second_encoder) == ("data/encoder", "")
    assert {record.getMessage() for record in caplog.records} == {
        f"bge-small-en-v1.5 isn't set up (`make build` fetches it), so {WITHOUT_SECOND} is used, not {path}."
    }


def test_a_configuration_is_frozen_and_changes_are_checked() -> None:
    with pytest.raises(ValidationError):
        BASELINE.top_k = 4  # type: ignore[misc]
    assert BASELINE.with_changes(top_k=4).top_k == 4
    with pytest.raises(FaqlabError, match=r"^top_k: input should be greater than or equal to 1\.$"):
        BASELINE.with_changes(top_k=0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "Invalid JSON: EOF while parsing"),
        ("[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        ("[]", "Input should be an object"),
        (
            '{"top_n": 3}',
            "top_n: extra inputs are not permitted (known settings: encoder, second_encoder, views, top_k, ngram",
        ),
        ('{"top_k": 0}', "top_k: input should be greater than or equal to 1"),
        ('{"top_k": 2.5}', "top_k: input should be a valid integer"),
        ('{"top_k": "3"}', "top_k: input should be a valid integer"),
        ('{"scale": 0}', "scale: input should be greater than or equal to 1"),
        ('{"decline_below": NaN}', "decline_below: input should be a finite number"),
        ('{"answer_from": 0.5}', "decline_below, scope_from and answer_from need a scale: add one, or leave them out"),
        ('{"views": []}', "views: tuple should have at least 1 item"),
        ('{"views": ["title"]}', "views.0: input should be 'question', 'phrasings', 'question_answer' or 'answer'"),
        ('{"views": ["answer", "question", "answer"]}', "views: one is named twice; name each once (known settings: "),
        ('{"encoder": ""}', "encoder: string should have at least 1 character"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_setting(path: Path, content: str, expected: str) -> None:
    path.write_text(content)
    with pytest.raises(FaqlabError) as error:
        RetrievalConfig.load(path)
    assert str(error.value).startswith(f"{path}: {expected}")
    assert str(error.value).endswith("; fix it, or name another configuration.")


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaqlabError, match=r"can't be read \(Is a directory\); fix it, or name another"):
        RetrievalConfig.load(tmp_path)
    (tmp_path / "file").touch()
    for name in ("a" * 300, "file/retrieval.json", "."):
        with pytest.raises(FaqlabError, match=r"can't be written \(.*\); set FAQLAB_RETRIEVAL to another file\.$"):
            BASELINE.save(tmp_path / name)
