"""The two commands: what they set up once, what stops them in one sentence, and the JupyterLab that they open."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import nbformat
import pytest

from faqlab.settings import PROJECT_ROOT
from faqlab.voice.livekit_server import VERSION

PYTHONS = {
    "none": ("", "faqlab needs Python 3.11, 3.12 or 3.13; install it, or run make with PYTHON=/path/to/python3."),
    "old": (
        'case "$*" in --version) echo Python 3.9.2;; *version_info*) exit 1;; esac',
        "faqlab needs Python 3.11, 3.12 or 3.13, and this is Python 3.9.2; run make with PYTHON=/path/to/python3.12.",
    ),
    "without venv": (
        'case "$*" in *ensurepip*) echo "No module named ensurepip" >&2; exit 1;; esac',
        "Python has no venv module; install it (Debian and Ubuntu: apt install python3-venv).",
    ),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that make reads, without any code."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "faqlab/voice/livekit_server.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    left_out = ("MAKE", "PYTHON", "CONDA_PREFIX", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return subprocess.run(["make", *arguments], cwd=folder, env=kept | variables, capture_output=True, text=True)


def script(path: Path, lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("case", PYTHONS)
def test_a_python_that_cannot_be_used_is_one_sentence_and_nothing_is_begun(checkout: Path, case: str) -> None:
    lines, sentence = PYTHONS[case]
    python = script(checkout / "a-python", lines) if lines else checkout / "none"
    run = make(checkout, "setup", f"PYTHON={python}")
    assert run.returncode == 2
    assert run.stdout.strip() == sentence
    assert [line for line in run.stderr.splitlines() if not line.startswith("make: ")] == []
    assert not (checkout / ".venv").exists()


def test_a_second_start_installs_nothing_until_the_pins_change(checkout: Path) -> None:
    ready = checkout / ".venv/.ready"
    ready.parent.mkdir()
    ready.touch()
    assert "uv pip install" not in make(checkout, "--dry-run", "lab").stdout
    later = time.time() + 60
    os.utime(checkout / "requirements.txt", (later, later))
    assert "uv pip install" in make(checkout, "--dry-run", "lab").stdout


def test_only_packages_with_the_pinned_hashes_are_installed_the_installer_included(checkout: Path) -> None:
    venv = checkout / ".venv/bin"
    script(
        venv / "python",
        """echo "$*" >> called; for last; do :; done
        case "$*" in "-m uv --version") exit 1;; "-m pip install"*) cat "$last" > first;; esac""",
    )
    script(venv / "jupyter", "")
    (checkout / "notebooks").mkdir()
    make(checkout, ".venv/.ready", f"PYTHON={sys.executable}")
    name, *hashes = (checkout / "first").read_text().replace("\\\n", "").strip().split(" --hash=sha256:")
    assert re.fullmatch(r"uv==[\d.]+ *", name) and hashes and "\n" not in "".join(hashes)
    installed = [line for line in (checkout / "called").read_text().splitlines() if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps --no-build-isolation -e ." in line for line in installed)
    assert len(installed) == 3


@pytest.mark.parametrize("variable", ["CONDA_PREFIX", "VIRTUAL_ENV"])
def test_build_uses_the_active_environment_if_faqlab_is_installed_in_it(checkout: Path, variable: str) -> None:
    active = {variable: str(checkout / "active")}
    assert f'"{checkout}/.venv/bin/python" -m training' in make(checkout, "--dry-run", "models", **active).stdout
    script(checkout / "active/bin/faqlab", "")
    assert f'"{checkout}/active/bin/python" -m training' in make(checkout, "--dry-run", "models", **active).stdout


def test_livekit_server_is_built_once_and_a_build_that_fails_leaves_nothing(checkout: Path) -> None:
    cache = checkout / "cache" / "faqlab"
    variables = {"XDG_CACHE_HOME": str(cache.parent)}
    script(checkout / "bin/go", 'touch "$GOBIN/half"; echo no such host >&2; exit 1')
    failed = make(checkout, "livekit-server", f"BIN={checkout}/bin", **variables)
    assert failed.returncode and "no such host\nlivekit-server couldn't be built" in failed.stdout
    assert list(cache.iterdir()) == []
    script(checkout / "bin/go", 'echo "$@" >> called; echo server > "$GOBIN/server"; chmod +x "$GOBIN/server"')
    for _ in range(2):
        assert not make(checkout, "livekit-server", f"BIN={checkout}/bin", **variables).returncode
    assert [path.name for path in cache.iterdir()] == [f"livekit-server-{VERSION}"]
    [built] = (checkout / "called").read_text().splitlines()
    assert built.endswith(f"github.com/livekit/livekit-server/cmd/server@v{VERSION}")


# JupyterLab


@pytest.fixture
def jupyterlab(tmp_path: Path) -> Iterator[tuple[httpx.Client, list[str]]]:
    """The JupyterLab of `make lab`, on a folder with one notebook: a client of it, and what it printed at its start."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(PROJECT_ROOT / "notebooks" / "03_tune_top_k.ipynb", folder / "mine.ipynb")
    [command] = [line for line in make(PROJECT_ROOT, "-n", "lab").stdout.splitlines() if "-m jupyterlab" in line]
    arguments = command.split(" -m jupyterlab ")[1].split()
    with subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *arguments, f"--ServerApp.root_dir={tmp_path}", "--port=0"],
        cwd=PROJECT_ROOT,
        env={k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines: list[str] = []
            link = None
            while link is None and (line := process.stderr.readline() if process.stderr else ""):
                lines.append(line)
                link = re.search(r"(http://127\.0\.0\.1:\d+)/lab/tree/notebooks/README\.md\?token=(\w+)", line)
            assert link, "".join(lines)
            headers = {"Authorization": f"token {link[2]}"}
            with httpx.Client(base_url=link[1], headers=headers, trust_env=False, timeout=60) as client:
                yield client, lines
        finally:
            process.terminate()


def test_jupyterlab_starts_without_a_warning_shows_pages_as_read_and_does_not_ask_whether_to_fetch_news(
    jupyterlab: tuple[httpx.Client, list[str]],
) -> None:
    client, lines = jupyterlab

    def setting(plugin: str, name: str) -> object:
        return client.get(f"/lab/api/settings/{plugin}").json()["schema"]["properties"][name]["default"]

    assert setting("@jupyterlab/apputils-extension:notification", "fetchNews") == "false"
    viewers = setting("@jupyterlab/docmanager-extension:plugin", "defaultViewers")
    assert viewers == {"markdown": "Markdown Preview"}
    assert not [line for line in lines if re.search("warn|unrecognized|traitlets|error", line, re.IGNORECASE)]


def test_a_notebook_that_is_only_opened_is_not_written_and_one_that_is_changed_is(
    jupyterlab: tuple[httpx.Client, list[str]], tmp_path: Path
) -> None:
    client, _ = jupyterlab
    path, address = tmp_path / "notebooks" / "mine.ipynb", "/api/contents/notebooks/mine.ipynb"
    before = path.read_bytes()
    opened = client.get(address).json()["content"]
    opened["metadata"]["language_info"] = {"name": "python", "version": "3.12.1"}  # as JupyterLab does
    saved = client.put(address, json={"type": "notebook", "format": "json", "content": opened})
    assert (saved.status_code, path.read_bytes()) == (200, before)
    changed = copy.deepcopy(opened)
    changed["cells"][0]["source"] += "\nMine."
    assert client.put(address, json={"type": "notebook", "format": "json", "content": changed}).status_code == 200
    assert nbformat.read(path, 4).cells[0].source.endswith("Mine.")
