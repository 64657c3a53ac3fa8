"""Settings come from the environment or `.env`, and mean the same in every current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT, Settings, resolve, settings


@pytest.fixture(autouse=True)
def read_again() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_the_defaults_are_the_projects_files_even_if_the_current_folder_has_files_of_these_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for name in ("ecommerce.json", "queries.csv", "retrieval.json"):
        (tmp_path / "data" / name).touch()
    monkeypatch.chdir(tmp_path)
    files = settings().faqs, settings().queries, settings().retrieval
    assert files == tuple(PROJECT_ROOT / "data" / name for name in ("ecommerce.json", "queries.csv", "retrieval.json"))
    assert settings().cache_dir == PROJECT_ROOT / "embeddings_cache"


def test_a_path_is_relative_to_the_current_folder_if_it_exists_there_else_to_the_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(Path("data/mine.json")) == PROJECT_ROOT / "data" / "mine.json"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.json").touch()
    assert resolve(Path("data/mine.json")) == tmp_path / "data" / "mine.json"
    assert resolve(Path("/elsewhere.json")) == Path("/elsewhere.json")
    assert resolve(Path("~/mine.json")) == Path.home() / "mine.json"


@pytest.mark.parametrize("name", ["a" * 300, "~nobody-of-this-name/mine.json"])
def test_a_path_that_cannot_exist_is_not_an_error_of_the_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQLAB_FAQS", name)
    assert settings().faqs == PROJECT_ROOT / name


def test_the_environment_wins_over_the_env_file_and_an_empty_variable_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FAQLAB_FAQS=/file.json\nFAQLAB_QUERIES=/file.csv\nSOMETHING_ELSE=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("FAQLAB_FAQS", "/environment.json")
    monkeypatch.setenv("FAQLAB_RETRIEVAL", "")
    assert (settings().faqs, settings().queries) == (Path("/environment.json"), Path("/file.csv"))
    assert settings().retrieval == PROJECT_ROOT / "data" / "retrieval.json"


def test_another_env_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.env").write_text("FAQLAB_ALLOWED_HOSTS=a.example b.example\n")
    run = subprocess.run(
        [sys.executable, "-c", "from faqlab.settings import settings; print(settings().allowed_hosts)"],
        env={**os.environ, "FAQLAB_ENV_FILE": str(tmp_path / "other.env")},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    assert run.stdout == "('a.example', 'b.example')\n"


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("FAQLAB_PORT", "a-secret-of-mine", "input should be a valid integer"),
        ("FAQLAB_TOKEN_MINUTES", "inf", "input should be less than or equal to 1440"),
        ("FAQLAB_TOKEN_MINUTES", "nan", "input should be"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_the_name_of_its_variable(
    name: str, value: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(FaqlabError, match=rf"^{name} in the environment or \.env: {what}") as error:
        settings()
    assert "a-secret-of-mine" not in str(error.value)


def test_an_env_file_that_is_not_utf_8_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("FAQLAB_AGENT_NAME=für\n".encode("latin-1"))
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    with pytest.raises(FaqlabError, match=r"\.env: can't be read .*; save it as UTF-8\.$"):
        settings()


def test_a_key_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key-of-mine")
    assert settings().google_api_key is not None
    assert "a-key-of-mine" not in repr(settings())
