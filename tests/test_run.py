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


def steps(special: dict[str, str]) -> dict[str, list[str]]:
    """Each step as code that says its name and options, and then does what *special* has for it."""
    said = "import sys; print('words of {}', *sys.argv[1:])\n{}"
    return {name: ["-c", said.format(name, special.get(name, ""))] for name in run.STEPS}


@pytest.mark.parametrize("failing", [None, "tests", "prepare", "voice", "live demo"])
def test_one_report_says_which_steps_failed_and_shows_what_ran_beside(
    failing: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "STEPS", steps({failing: "sys.exit(3)"} if failing else {}))
    assert run.run_steps(dict(os.environ)) == (failing is not None)
    shown = capfd.readouterr().out
    for name in run.STEPS:
        assert shown.count(f"words of {name}") == 1
        assert re.search(rf"^{name} +{'FAILED' if name == failing else 'ok'} +\d+\.\d s$", shown, re.MULTILINE)
    assert f"{len(run.STEPS) - (failing is not None)} passed, {failing is not None:d} failed" in shown


@pytest.mark.parametrize(("again", "result"), [("sys.exit(0)", "ok"), ("sys.exit(1)", "FAILED")])
def test_calls_that_failed_are_tried_a_second_time_and_it_is_said(
    again: str, result: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    voice = f"if '--last-failed' in sys.argv: {again}\nsys.exit(1)"
    monkeypatch.setattr(run, "STEPS", steps({"voice": voice}))
    assert run.run_steps(dict(os.environ)) == (result == "FAILED")
    shown = capfd.readouterr().out
    assert "words of voice --cache-clear\n" in shown
    assert "words of voice --last-failed\n" in shown
    assert re.search(rf"^voice, second try +{result} ", shown, re.MULTILINE)


def interrupted_beside(clearing_up: str, words: Path) -> int:
    """Interrupt what runs beside a step that, once it is under way, takes a minute; return how that ended."""
    code = f"import time\ntry:\n    print('ready', flush=True); time.sleep(60)\nfinally:\n    {clearing_up}"
    with (
        pytest.MonkeyPatch.context() as patch,
        words.open("w+b") as file,
        pytest.raises(KeyboardInterrupt),
    ):
        patch.setattr(run, "STEPS", {"tests": ["-c", code]})
        run.heed_interrupts()
        with run.beside("tests", dict(os.environ), file) as ended:
            while not words.read_bytes():
                time.sleep(0.05)
            raise KeyboardInterrupt
    return ended()[0]


def test_what_runs_beside_may_clear_up_when_interrupted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cleared = tmp_path / "cleared"
    monkeypatch.setattr(run, "GRACE_S", 3)
    status = interrupted_beside(f"time.sleep(0.5); open({str(cleared)!r}, 'w'); print('cleared')", tmp_path / "words")
    assert cleared.exists()
    assert status == -signal.SIGINT
    assert "\ncleared\n" in capfd.readouterr().out


def test_what_runs_beside_ends_with_what_it_runs_beside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "GRACE_S", 1)
    start = time.monotonic()
    assert interrupted_beside("time.sleep(60)", tmp_path / "words") == -signal.SIGTERM
    assert time.monotonic() - start < 20
