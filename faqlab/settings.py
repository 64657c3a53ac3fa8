"""Where the project's files are and what the user has set, read once from the environment and `.env`."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from faqlab.errors import FaqlabError

PROJECT_ROOT = Path(__file__).resolve().parents[1]
RETRIEVAL = PROJECT_ROOT / "data/retrieval.json"


def exists(path: Path) -> bool:
    """Whether something is there; no file has a name that the system does not take."""
    try:
        return path.exists()
    except OSError:
        return False


def resolve(path: Path) -> Path:
    """
    Make *path* absolute: from the current folder if something is there, else from the project's root.

    So `FAQLAB_FAQS=data/mine.json` means the same file in a shell at the root and in a notebook's kernel.

    Raises:
        FaqlabError: it begins with `~` and the name of nobody.
    """
    try:
        path = path.expanduser()
    except RuntimeError:
        raise FaqlabError(f"{path}: there is no such user: write the path out, from / on.") from None
    here = Path.cwd() / path
    return here if exists(here) else PROJECT_ROOT / path


ProjectPath = Annotated[Path, AfterValidator(resolve)]


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)]
"""Several of them, parted by spaces."""


class Settings(BaseSettings):
    """All that can be set from outside. `.env.example` says the same in words."""

    model_config = SettingsConfigDict(
        env_prefix="FAQLAB_",
        env_file=os.environ.get("FAQLAB_ENV_FILE", PROJECT_ROOT / ".env"),
        env_ignore_empty=True,
        extra="ignore",
        validate_default=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    # Absolute, or a folder `data` that happens to be here would be read instead.
    faqs: ProjectPath = PROJECT_ROOT / "data/ecommerce.json"
    queries: ProjectPath = PROJECT_ROOT / "data/queries.csv"
    retrieval: ProjectPath = RETRIEVAL
    cache_dir: ProjectPath = PROJECT_ROOT / "embeddings_cache"

    gemini_model: str = "gemini-3.8-live"
    gemini_voice: str = "Fenrir"

    agent_name: str = "faqlab"
    port: int | None = Field(None, ge=1, le=65535)
    token_minutes: float = Field(10, gt=0)
    room: str | None = None
    allow_choice: bool = False
    allowed_hosts: Words = ()
    allowed_origins: Words = ()
    records: ProjectPath | None = None

    google_api_key: SecretStr | None = Field(None, validation_alias="GOOGLE_API_KEY")
    livekit_url: str | None = Field(None, validation_alias="LIVEKIT_URL")
    livekit_api_key: str | None = Field(None, validation_alias="LIVEKIT_API_KEY")
    livekit_api_secret: SecretStr | None = Field(None, validation_alias="LIVEKIT_API_SECRET")


@cache
def settings() -> Settings:
    """
    Return the settings, read at the first call.

    Raises:
        FaqlabError: `.env` cannot be read, or a variable has a value that cannot be used; the message names it, not its
            value, but for a path's.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the fields come from the environment
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise FaqlabError(f"The environment or .env holds a setting that cannot be used: {problems}.") from None
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        file = Settings.model_config.get("env_file")
        raise FaqlabError(f"{file}: cannot be read ({error}): save it as a file of text in UTF-8.") from None
