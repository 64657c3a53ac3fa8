"""`make test` proves the project, whatever its user has set, and leaves the user's files as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from run import environment

from faqlab.settings import PROJECT_ROOT, Settings


def test_nothing_that_the_user_has_set_reaches_the_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FAQLAB_FAQS", "FAQLAB_CACHE_DIR", "GOOGLE_API_KEY", "LIVEKIT_URL"):
        monkeypatch.setenv(name, "of-my-own")
    env = environment(tmp_path)
    assert "of-my-own" not in env.values()
    assert env["FAQLAB_ENV_FILE"] == os.devnull
    assert env["PATH"] == os.environ["PATH"]


def test_notebook_03_writes_to_a_copy_of_the_committed_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAQLAB_RETRIEVAL", environment(tmp_path)["FAQLAB_RETRIEVAL"])
    retrieval = Settings().retrieval
    assert retrieval.parent == tmp_path
    assert retrieval.read_bytes() == (PROJECT_ROOT / "data" / "retrieval.json").read_bytes()
