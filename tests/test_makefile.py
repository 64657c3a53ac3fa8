"""The two commands: what stops them is said in one sentence, and a second start sets nothing up again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from faqlab.settings import PROJECT_ROOT

PYTHONS = {
    "none": ("", "faqlab needs Python 3.11, 3.12 or 3.13: install it, or say PYTHON=/path/to/python3."),
    "old": (
        'case "$*" in --version) echo Python 3.9.2;; *version_info*) exit 1;; esac',
        "faqlab needs Python 3.11, 3.12 or 3.13; Python 3.9.2 is here: say PYTHON=/path/to/python3.12.",
    ),
    "without venv": (
        'case "$*" in *ensurepip*) echo "No module named ensurepip" >&2; exit 1;; esac',
        "Python has no venv module: install it (Debian and Ubuntu: apt install python3-venv).",
    ),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(PROJECT_ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=kept, capture_output=True, text=True)


@pytest.mark.parametrize("case", PYTHONS)
def test_a_python_that_cannot_be_used_is_one_sentence_and_nothing_is_begun(checkout: Path, case: str) -> None:
    script, sentence = PYTHONS[case]
    python = checkout / "a-python"
    if script:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    run = make(checkout, "setup", f"PYTHON={python}")
    assert run.returncode == 2
    assert run.stdout.strip() == sentence
    assert [line for line in run.stderr.splitlines() if not line.startswith("make: ")] == []
    assert not (checkout / ".venv").exists()


def test_a_second_start_sets_nothing_up_until_the_pins_change(checkout: Path) -> None:
    ready = checkout / ".venv/.ready"
    ready.parent.mkdir()
    ready.touch()
    again = make(checkout, "--dry-run", "lab").stdout.split("\n")
    assert again == [".venv/bin/python -m faqlab.lab", ""]
    later = time.time() + 60
    os.utime(checkout / "requirements.txt", (later, later))
    assert "uv pip install" in make(checkout, "--dry-run", "lab").stdout
