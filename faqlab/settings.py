"""Where the project's files are and what the user has set, read once from the environment and `.env`."""

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, ValidationError, WebsocketUrl
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from faqlab.errors import FaqlabError, first_problem

PROJECT_ROOT = Path(__file__).resolve().parents[1]
RETRIEVAL = PROJECT_ROOT / "data/retrieval.json"


def exists(path: Path) -> bool:
    """Return whether there is a file or folder at *path*; False for a name that the system doesn't allow."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises an error for such a name)


def resolve(path: Path) -> Path:
    """Return the absolute *path*, relative to the current folder if it exists there, otherwise to the project root."""
    path = Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises an error for an unknown user)
    here = Path.cwd() / path
    return here if exists(here) else PROJECT_ROOT / path


def _like(pattern: str, problem: str) -> AfterValidator:
    """Return a validator that refuses what *pattern* doesn't match; *problem* ends the sentence that says so."""

    def check(value: Any) -> Any:
        if not re.fullmatch(pattern, value.get_secret_value() if isinstance(value, SecretStr) else str(value)):
            raise ValueError(problem)
        return value

    return AfterValidator(check)


def _livekit_url(value: str) -> str:
    with suppress(ValueError):
        url = str(WebsocketUrl(value)).rstrip("/")
        if re.fullmatch(rf"wss?://({HOST}|\[[0-9a-f:.]+\])(:[0-9]+)?(/[^?#]*)?", url):
            return url
    raise ValueError("should look like wss://my-project.livekit.cloud")


WORDS = BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)
ProjectPath = Annotated[Path, BeforeValidator(lambda v: resolve(Path(v))), _like(r"[^\0]{1,4096}", "isn't a path")]
Name = Annotated[str, _like(r"[\w -~]{1,128}", "should be 1 to 128 letters, digits, spaces and punctuation marks")]
Title = Annotated[str, _like(r"[\w -~¡-ÿ‐-‧‰-⁞€🌀-🫿]{1,128}", "should be 1 to 128 letters, digits, signs and spaces")]
KEY = _like(r"[!-~]{1,512}", "should be a key, without spaces")
HOST = r"([a-z0-9_-]+\.)*[a-z0-9_-]+"
HOST_NAME = StringConstraints(to_lower=True, max_length=300)
Host = Annotated[str, HOST_NAME, _like(rf"(\*\.)?{HOST}", "should look like faq.example.com")]
Origin = Annotated[str, HOST_NAME, _like(rf"https?://{HOST}(:[0-9]+)?", "should look like https://www.example.com")]


class Settings(BaseSettings):
    """All settings; `.env.example` explains them."""

    model_config = SettingsConfigDict(
        env_prefix="FAQLAB_",
        env_file=os.environ.get("FAQLAB_ENV_FILE", PROJECT_ROOT / ".env"),
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    # Absolute, so that a folder `data` in the current folder isn't read instead.
    faqs: ProjectPath = PROJECT_ROOT / "data/ecommerce.json"
    queries: ProjectPath = PROJECT_ROOT / "data/queries.csv"
    retrieval: ProjectPath = RETRIEVAL
    cache_dir: ProjectPath = PROJECT_ROOT / "embeddings_cache"

    stt: Literal["tiny.en", "base"] = "tiny.en"
    gemini_model: Name = "gemini-3.8-live"
    gemini_voice: Name = "Fenrir"

    title: Title = "Ask the FAQ"
    agent_name: Name = "faqlab"
    port: int | None = Field(None, ge=1, le=65535)
    calls: int | None = Field(None, ge=1, le=1000)
    call_minutes: float = Field(30, gt=0, le=1440)
    token_minutes: float = Field(10, gt=0, le=1440)
    tokens_per_minute: int = Field(100, ge=1, le=1_000_000)
    allowed_hosts: Annotated[tuple[Host, ...], NoDecode, WORDS] = Field((), max_length=100)
    allowed_origins: Annotated[tuple[Origin, ...], NoDecode, WORDS] = Field((), max_length=100)
    records: ProjectPath | None = None
    contact: Annotated[str, Field(max_length=300)] | None = None

    google_api_key: Annotated[SecretStr, KEY] | None = Field(None, validation_alias="GOOGLE_API_KEY")
    livekit_url: Annotated[str, AfterValidator(_livekit_url)] | None = Field(None, validation_alias="LIVEKIT_URL")
    livekit_api_key: Annotated[str, KEY] | None = Field(None, validation_alias="LIVEKIT_API_KEY")
    livekit_api_secret: Annotated[SecretStr, KEY] | None = Field(None, validation_alias="LIVEKIT_API_SECRET")


@cache
def settings() -> Settings:
    """Return the settings, read at the first call. A FaqlabError names an unusable variable without its value."""
    if (file := os.environ.get("FAQLAB_ENV_FILE")) and not exists(Path(file).expanduser()):
        raise FaqlabError(f"FAQLAB_ENV_FILE names {file}, and there is no such file; correct it, or leave it out.")
    try:
        return Settings()
    except ValidationError as error:
        where, _, problem = first_problem(error).partition(": ")
        name = where.split(".")[0]
        variable = name if name.isupper() else f"FAQLAB_{name.upper()}"
        raise FaqlabError(f"{variable} in the environment or .env: {problem}.") from None
    except (OSError, ValueError) as error:
        remedy = "check its permissions" if isinstance(error, OSError) else "save it as UTF-8"
        raise FaqlabError(f"{Settings.model_config['env_file']}: can't be read ({error}); {remedy}.") from None
