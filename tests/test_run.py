"""`make test` proves the project, whatever its user has set, and leaves the user's files as they are."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
import run

from faqlab.settings import PROJECT_ROOT, Settings


def test_nothing_that_the_user_has_set_reaches_the_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FAQLAB_FAQS", "FAQLAB_CACHE_DIR", "GOOGLE_API_KEY", "LIVEKIT_URL"):
        monkeypatch.setenv(name, "of-my-own")
    env = run.environment(tmp_path)
    assert "of-my-own" not in env.values()
    assert env["FAQLAB_ENV_FILE"] == os.devnull
    assert env["PATH"] == os.environ["PATH"]


def test_notebook_03_writes_to_a_copy_of_the_committed_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAQLAB_RETRIEVAL", run.environment(tmp_path)["FAQLAB_RETRIEVAL"])
    retrieval = Settings().retrieval
    assert retrieval.parent == tmp_path
    assert retrieval.read_bytes() == (PROJECT_ROOT / "data" / "retrieval.json").read_bytes()


@pytest.mark.parametrize("failing", [None, "tests", "prepare", "voice", "live demo"])
def test_one_report_says_which_steps_failed_and_shows_what_ran_beside(
    failing: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = {name: ["-c", f"print('words of {name}'); raise SystemExit({name == failing:d})"] for name in run.STEPS}
    monkeypatch.setattr(run, "STEPS", steps)
    assert run.run_steps(dict(os.environ)) == (failing is not None)
    shown = capfd.readouterr().out
    for name in run.STEPS:
        assert f"words of {name}\n" in shown
        assert re.search(rf"^{name} +{'FAILED' if name == failing else 'ok'} +\d+\.\d s$", shown, re.MULTILINE)
    assert shown.count("words of voice") == (2 if failing == "voice" else 1)  # a second try
    assert f"{len(steps) - (failing is not None)} passed, {failing is not None:d} failed" in shown


def test_what_runs_beside_ends_with_what_it_runs_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STEPS", {"tests": ["-c", "import time; time.sleep(60)"]})
    monkeypatch.setattr(run, "GRACE_S", 1)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), run.beside("tests", dict(os.environ)) as tests:
        raise KeyboardInterrupt
    assert time.monotonic() - start < 20
    assert tests()[0] == -signal.SIGTERM
