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
    """Return whether there is a file or folder at *path*; False for a name that the system doesn't allow."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises an error for such a name)


def resolve(path: Path) -> Path:
    """Return the absolute *path*, relative to the current folder if it exists there, otherwise to the project root."""
    path = Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises an error for an unknown user)
    here = Path.cwd() / path
    return here if exists(here) else PROJECT_ROOT / path


ProjectPath = Annotated[Path, AfterValidator(resolve)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)]


class Settings(BaseSettings):
    """All settings; `.env.example` explains them."""

    model_config = SettingsConfigDict(
        env_prefix="FAQLAB_",
        env_file=os.environ.get("FAQLAB_ENV_FILE", PROJECT_ROOT / ".env"),
        env_ignore_empty=True,
        extra="ignore",
        validate_default=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    # Absolute, so that a folder `data` in the current folder isn't read instead.
    faqs: ProjectPath = PROJECT_ROOT / "data/ecommerce.json"
    queries: ProjectPath = PROJECT_ROOT / "data/queries.csv"
    retrieval: ProjectPath = RETRIEVAL
    cache_dir: ProjectPath = PROJECT_ROOT / "embeddings_cache"

    gemini_model: str = "gemini-3.8-live"
    gemini_voice: str = "Fenrir"

    agent_name: str = "faqlab"
    port: int | None = Field(None, ge=1, le=65535)
    token_minutes: float = Field(10, gt=0, le=1440)
    room: str | None = None
    allowed_hosts: Words = ()
    allowed_origins: Words = ()
    records: ProjectPath | None = None

    google_api_key: SecretStr | None = Field(None, validation_alias="GOOGLE_API_KEY")
    livekit_url: str | None = Field(None, validation_alias="LIVEKIT_URL")
    livekit_api_key: str | None = Field(None, validation_alias="LIVEKIT_API_KEY")
    livekit_api_secret: SecretStr | None = Field(None, validation_alias="LIVEKIT_API_SECRET")


@cache
def settings() -> Settings:
    """Return the settings, read at the first call. A FaqlabError names an unusable variable without its value."""
    try:
        return Settings()
    except ValidationError as error:
        name, what = str(error.errors()[0]["loc"][0]), error.errors()[0]["msg"].lower()
        variable = name if name.isupper() else f"FAQLAB_{name.upper()}"
        raise FaqlabError(f"{variable} in the environment or .env: {what}.") from None
    except (OSError, ValueError) as error:
        remedy = "check its permissions" if isinstance(error, OSError) else "save it as UTF-8"
        raise FaqlabError(f"{Settings.model_config['env_file']}: can't be read ({error}); {remedy}.") from None
