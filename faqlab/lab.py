"""What `make lab` ends in: JupyterLab on the notebooks, the slow parts of the voice chain built meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO

from faqlab.settings import PROJECT_ROOT


def main() -> None:
    """Start building livekit-server and the page in the background, and become JupyterLab."""
    log = PROJECT_ROOT / "embeddings_cache" / "prepare.log"
    prepare(log)
    print(f"The live demo is made ready meanwhile; {log.relative_to(PROJECT_ROOT)} says how.", flush=True)  # noqa: T201
    print("JupyterLab prints its link below; Ctrl-C twice stops it.", flush=True)  # noqa: T201
    os.execv(sys.executable, jupyterlab())


def prepare(log: Path) -> subprocess.Popen[bytes]:
    """Start `faqlab prepare` in the background; what it says goes to *log*, or nowhere if that cannot be written."""
    with ExitStack() as files:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            file = files.enter_context(log.open("ab", buffering=0))  # others may write there, too
            file.write(f"{datetime.now():%Y-%m-%d %H:%M} Making the live demo ready.\n".encode())
            output: IO[bytes] | int = file
        except OSError as error:
            print(f"{log}: cannot be written ({error.strerror}), so the preparation runs unheard.", flush=True)  # noqa: T201
            output = subprocess.DEVNULL
        return subprocess.Popen(
            [sys.executable, "-m", "faqlab.cli", "prepare"],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def jupyterlab() -> list[str]:
    """Return the command that opens JupyterLab on the notebooks, without a question first."""
    command = [
        *(sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1"),
        f"--ServerApp.root_dir={PROJECT_ROOT / 'notebooks'}",
        # At its first start it would ask, over the notebook, whether to fetch its makers' news and updates.
        f"--LabApp.app_settings_dir={Path(__file__).with_name('jupyterlab')}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if not _has_browser():
        command.append("--no-browser")
    return command


def _has_browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    main()
