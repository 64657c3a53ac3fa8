"""`make test` checks the project, whatever its user has set, and leaves the user's files as they are."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import run

from faqlab.settings import PROJECT_ROOT, Settings


def test_nothing_that_the_user_has_set_reaches_the_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FAQLAB_FAQS", "FAQLAB_CACHE_DIR", "GOOGLE_API_KEY", "LIVEKIT_URL"):
        monkeypatch.setenv(name, "the user's")
    env = run.environment(tmp_path)
    assert "the user's" not in env.values()
    assert env["FAQLAB_ENV_FILE"] == os.devnull


def test_notebook_03_writes_to_a_copy_of_the_committed_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAQLAB_RETRIEVAL", run.environment(tmp_path)["FAQLAB_RETRIEVAL"])
    retrieval = Settings().retrieval
    assert retrieval.parent == tmp_path
    assert retrieval.read_bytes() == (PROJECT_ROOT / "data" / "retrieval.json").read_bytes()


@pytest.mark.parametrize("failing", [None, "ruff", "notebook 05"])
def test_every_step_runs_and_one_report_says_which_have_failed(
    failing: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for lane in ("CALLS", "COMPUTATION"):
        code = "print('output of', {0!r}); raise SystemExit({0!r} == {1!r})"
        steps = {name: [sys.executable, "-c", code.format(name, failing)] for name in getattr(run, lane)}
        monkeypatch.setattr(run, lane, steps)
    assert run.main() == (failing is not None)
    shown = capsys.readouterr().out
    for name in [*run.CALLS, *run.COMPUTATION]:
        assert f"output of {name}" in shown
        assert re.search(rf"^{name} +{'FAILED' if name == failing else 'ok'} +\d+\.\d s$", shown, re.MULTILINE)
