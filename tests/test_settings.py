"""Settings come from the environment or `.env`, and mean the same wherever the shell or the kernel stands."""

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
def read_anew() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_without_any_setting_the_projects_own_files_are_meant_also_where_others_have_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "embeddings_cache").mkdir()
    for decoy in ("ecommerce.json", "queries.csv", "retrieval.json"):
        (tmp_path / "data" / decoy).touch()
    monkeypatch.chdir(tmp_path)
    assert settings().faqs == PROJECT_ROOT / "data" / "ecommerce.json"
    assert settings().queries == PROJECT_ROOT / "data" / "queries.csv"
    assert settings().retrieval == PROJECT_ROOT / "data" / "retrieval.json"
    assert settings().cache_dir == PROJECT_ROOT / "embeddings_cache"


def test_a_path_is_taken_from_here_if_something_is_there_and_else_from_the_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(Path("data/mine.json")) == PROJECT_ROOT / "data" / "mine.json"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.json").touch()
    assert resolve(Path("data/mine.json")) == tmp_path / "data" / "mine.json"
    assert resolve(tmp_path / "elsewhere.json") == tmp_path / "elsewhere.json"
    assert resolve(Path("~/mine.json")) == Path.home() / "mine.json"


def test_a_variable_that_is_set_to_nothing_is_as_if_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQLAB_FAQS", "")
    assert settings().faqs == PROJECT_ROOT / "data" / "ecommerce.json"


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("FAQLAB_FAQS=/from/file.json\nFAQLAB_QUERIES=/from/file.csv\nSOMETHING_ELSE=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    monkeypatch.setenv("FAQLAB_FAQS", "/from/environment.json")
    assert settings().faqs == Path("/from/environment.json")
    assert settings().queries == Path("/from/file.csv")


def test_another_env_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.env").write_text("FAQLAB_AGENT_NAME=another\n")
    run = subprocess.run(
        [sys.executable, "-c", "from faqlab.settings import settings; print(settings().agent_name)"],
        env={**os.environ, "FAQLAB_ENV_FILE": str(tmp_path / "other.env")},
        capture_output=True,
        text=True,
    )
    assert run.stdout == "another\n"


def test_a_setting_that_cannot_be_used_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQLAB_PORT", "a-secret-of-mine")
    with pytest.raises(FaqlabError, match="port") as error:
        settings()
    assert "a-secret-of-mine" not in str(error.value)


@pytest.mark.parametrize("content", ["FAQLAB_AGENT_NAME=für\n".encode("latin-1"), "FAQLAB_PORT=1\n".encode("utf-16")])
def test_an_env_file_that_is_not_utf_8_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    with pytest.raises(FaqlabError, match=r"\.env: cannot be read .*: save it as a file of text in UTF-8"):
        settings()


def test_a_path_in_the_home_of_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQLAB_FAQS", "~nobody-of-this-name/mine.json")
    with pytest.raises(FaqlabError, match=r"^~nobody-of-this-name/mine\.json: there is no such user: write the path"):
        settings()


def test_a_path_that_the_system_does_not_take_is_left_to_whoever_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQLAB_FAQS", "a" * 300)
    assert settings().faqs == PROJECT_ROOT / ("a" * 300)


def test_a_key_is_not_shown_when_the_settings_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key-of-mine")
    assert settings().google_api_key is not None
    assert "a-key-of-mine" not in repr(settings())
