"""Settings come from the environment or `.env`, and mean the same in every current folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT, Settings, resolve, settings


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return str(Settings.model_fields[name].validation_alias or f"FAQLAB_{name.upper()}")


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


def test_an_env_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAQLAB_ENV_FILE", "/no/such.env")
    with pytest.raises(FaqlabError, match=r"FAQLAB_ENV_FILE names /no/such\.env, and there is no such file"):
        settings()


def test_a_setting_that_cannot_be_used_is_named_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, problem in [
        ("FAQLAB_PORT", "eighty", "input should be a valid integer, unable to parse string as an integer"),
        ("FAQLAB_CALL_MINUTES", "inf", "input should be less than or equal to 1440"),
        ("FAQLAB_ALLOWED_ORIGINS", "https://a.example b.example", "should look like https://www.example.com"),
        ("LIVEKIT_URL", "https://faq.livekit.cloud", "should look like wss://my-project.livekit.cloud"),
        ("GOOGLE_API_KEY", "a key", "should be a key, without spaces"),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(FaqlabError) as error:
                settings()
        assert str(error.value) == f"{name} in the environment or .env: {problem}."


NUMBERS = ["inf", "-inf", "nan", "1e12", "-1", "0", "1;2", "0x7", "9" * 5000, "\0", "\U0001d7d8\u0663\u066b"]
NAMES = ["a\0b", "a\nb", "a\u202eb", "\ufdd0", "x" * 1_000_000]
KEYS = ["two words", "kéy", "a\0b", "x" * 1_000_000]
FILES = ("faqs", "queries", "retrieval", "cache_dir", "records")
PATHS = ["a\0b", "x/" * 500_000]
HOSTS = [
    "*",
    "a*b",
    "*x.example",
    "a.example:80",
    "https://a.example",
    "a..example",
    "ü.example",
    "a\0b",
    "x" * 1_000_000,
]
UNUSABLE = {
    **dict.fromkeys(("calls", "call_minutes", "port", "token_minutes", "tokens_per_minute"), NUMBERS),
    "contact": ["x" * 301],
    "stt": ["tiny", "BASE", "large-v3", "base tiny.en", "x" * 1_000_000],
    **dict.fromkeys(("title", "agent_name", "gemini_model", "gemini_voice"), NAMES),
    **dict.fromkeys(("google_api_key", "livekit_api_key", "livekit_api_secret"), KEYS),
    **dict.fromkeys(FILES, PATHS),
    "allowed_hosts": [*HOSTS, "a.example " * 101],
    "allowed_origins": [
        *("*", "null", "a.example", "ftp://a.example", "https://", "https://a.example/", "https://a.example/page"),
        *(
            "https://u@a.example",
            "https://a.example:",
            "https://a.example:٣",
            "https://a.example;",
            "https://ü.example",
        ),
        *("https://a.example?", "https://[::1", "https://a\0b", "https://" + "x" * 1_000_000, "https://a " * 101),
    ],
    "livekit_url": [
        *("ws://[::1", "ws://[::::]", "ws://[", "ws://a]", "wss://", "wss:///", "ws", "a.example", "https://a.example"),
        *("wss://u:hush@a.example", "wss://a.example?b", "wss://a.example#b", "wss://a;b", "wss://a b", "wss://a\0b"),
        *("ws://a:99999", "ws://a:b", "wss://" + "x" * 1_000_000, "wss://a/" + "x" * 1_000_000),
    ],
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_no_value_of_a_setting_is_an_exception_that_a_user_sees_or_is_repeated(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    for value in UNUSABLE[name]:
        (tmp_path / ".env").write_text(f"{variable(name)}='{value}'", encoding="utf-8")
        with pytest.raises(FaqlabError) as error:
            settings()
        said = str(error.value)
        assert said.startswith(f"{variable(name)} in the environment or .env: ") and said.endswith(".")
        assert len(said) < 200 and "\n" not in said
        assert len(value) < 9 or value not in said


def test_bytes_that_are_no_text_are_refused_except_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        with monkeypatch.context() as patch:
            patch.setenv(variable(name), "a\udcff")  # how Python reads the byte FF
            if name in FILES:
                assert getattr(settings(), name) == PROJECT_ROOT / "a\udcff"
            else:
                with pytest.raises(FaqlabError, match=variable(name)):
                    settings()
            settings.cache_clear()


def test_usual_values_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {
        "FAQLAB_CALLS": "4",
        "FAQLAB_AGENT_NAME": "Überall FAQ, v2",
        "FAQLAB_ALLOWED_HOSTS": "FAQ.example.com *.example.org",
        "FAQLAB_ALLOWED_ORIGINS": "https://FAQ.example.com http://localhost:8888",
        "GOOGLE_API_KEY": " AIza-key_1 ",
        "LIVEKIT_URL": "ws://[::1]:7880/",
    }
    for name, value in usual.items():
        monkeypatch.setenv(name, value)
    read = settings()
    assert (read.calls, read.call_minutes, read.tokens_per_minute) == (4, 30, 100)
    assert read.agent_name == "Überall FAQ, v2"
    assert read.allowed_hosts == ("faq.example.com", "*.example.org")
    assert read.allowed_origins == ("https://faq.example.com", "http://localhost:8888")
    assert read.google_api_key and read.google_api_key.get_secret_value() == "AIza-key_1"
    assert read.livekit_url == "ws://[::1]:7880"


def test_the_example_file_explains_every_setting_and_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    shown = dict(line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?\w+=", line))
    assert shown.keys() == {variable(name) for name in Settings.model_fields}
    for name, value in shown.items():
        monkeypatch.setenv(name, value)
    read, default = settings().model_dump(exclude_none=True), Settings.model_construct().model_dump(exclude_none=True)
    differ = {name for name in default if read[name] != default[name]}
    assert differ == {"allowed_hosts", "allowed_origins"}


def test_an_env_file_that_is_not_utf_8_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("FAQLAB_AGENT_NAME=für\n".encode("latin-1"))
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    with pytest.raises(FaqlabError, match=r"\.env: can't be read .*; save it as UTF-8\.$"):
        settings()


def test_a_key_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key-of-mine")
    assert settings().google_api_key is not None
    assert "a-key-of-mine" not in repr(settings())
