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


def scripts(folder: Path, **special: str) -> dict[str, list[str]]:
    """The steps, each a script that says its name; or what *special* has for it."""
    steps = {}
    for name in run.STEPS:
        path = folder / f"{name}.py"
        path.write_text(
            f"import sys\nprint('words of {name}', *sys.argv[1:])\n{special.get(name.replace(' ', '_'), '')}"
        )
        steps[name] = [str(path)]
    return steps


@pytest.mark.parametrize("failing", [None, "tests", "prepare", "voice", "live demo"])
def test_one_report_says_which_steps_failed_and_shows_what_ran_beside(
    failing: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    special = {failing.replace(" ", "_"): "sys.exit(3)"} if failing else {}
    monkeypatch.setattr(run, "STEPS", scripts(tmp_path, **special))
    assert run.run_steps(dict(os.environ)) == (failing is not None)
    shown = capfd.readouterr().out
    for name in run.STEPS:
        assert shown.count(f"words of {name}") == 1
        assert re.search(rf"^{name} +{'FAILED' if name == failing else 'ok'} +\d+\.\d s$", shown, re.MULTILINE)
    assert f"{len(run.STEPS) - (failing is not None)} passed, {failing is not None:d} failed" in shown


@pytest.mark.parametrize(("again", "result"), [("sys.exit(0)", "ok"), ("sys.exit(1)", "FAILED")])
def test_calls_that_failed_are_tried_a_second_time_and_it_is_said(
    again: str, result: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    voice = f"if '--last-failed' in sys.argv: {again}\nsys.exit(1)"
    monkeypatch.setattr(run, "STEPS", scripts(tmp_path, voice=voice))
    assert run.run_steps(dict(os.environ)) == (result == "FAILED")
    shown = capfd.readouterr().out
    assert "words of voice --cache-clear\n" in shown
    assert "words of voice --last-failed\n" in shown
    assert re.search(rf"^voice, second try +{result} ", shown, re.MULTILINE)


SLOW = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    {clearing_up}
"""


def test_what_runs_beside_may_clear_up_when_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cleared = tmp_path / "cleared"
    code = SLOW.format(clearing_up=f"time.sleep(0.5); open({str(cleared)!r}, 'w')")
    monkeypatch.setattr(run, "STEPS", {"tests": ["-c", code]})
    monkeypatch.setattr(run, "GRACE_S", 3)
    with (
        (tmp_path / "words").open("w+b") as words,
        pytest.raises(KeyboardInterrupt),
        run.beside("tests", dict(os.environ), words) as tests,
    ):
        while not (tmp_path / "words").read_bytes():
            time.sleep(0.05)
        raise KeyboardInterrupt
    assert cleared.exists()
    assert tests()[0] == -signal.SIGINT


def test_what_runs_beside_ends_with_what_it_runs_beside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = SLOW.format(clearing_up="time.sleep(60)")
    monkeypatch.setattr(run, "STEPS", {"tests": ["-c", code]})
    monkeypatch.setattr(run, "GRACE_S", 1)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), run.beside("tests", dict(os.environ)) as tests:
        time.sleep(1)
        raise KeyboardInterrupt
    assert time.monotonic() - start < 20
    assert tests()[0] == -signal.SIGTERM
