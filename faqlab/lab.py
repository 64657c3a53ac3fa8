"""What `make lab` ends in: JupyterLab on the notebooks, the slow parts of the voice chain built meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser

from faqlab.settings import PROJECT_ROOT


def main() -> None:
    """Start building livekit-server and the page in the background, and become JupyterLab."""
    subprocess.Popen(
        [sys.executable, "-m", "faqlab.cli", "prepare"],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    root = PROJECT_ROOT / "notebooks"
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--ServerApp.root_dir={root}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if not _has_browser():
        command.append("--no-browser")
    print("JupyterLab prints its link below; Ctrl-C twice stops it.", flush=True)  # noqa: T201
    os.execv(sys.executable, command)


def _has_browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    main()
