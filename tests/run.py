"""What `make test` runs: all checks, in two lanes side by side, and one report at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
NBMAKE = [*PYTEST, "--nbmake", "--nbmake-timeout=600", "--timeout=900"]

Steps = dict[str, list[str]]
CALLS: Steps = {  # in real time, mostly waiting
    "voice tests": [*PYTEST, "tests/voice"],
    "notebook 05": [*NBMAKE, "notebooks/05_live_demo.ipynb"],
}
COMPUTATION: Steps = {
    "ruff": [sys.executable, "-m", "ruff", "check", "--no-cache", "."],
    "format": [sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "."],
    "mypy": [sys.executable, "-m", "mypy", "--no-incremental"],
    "page": [str(BIN / "npm"), "--prefix", "faqlab/web", "test"],
    "tests": [*PYTEST, "tests", "--ignore=tests/voice"],
    "notebooks 01-04": [*NBMAKE, *sorted(f"notebooks/{p.name}" for p in ROOT.glob("notebooks/0[1-4]*.ipynb"))],
}
Report = list[tuple[str, bool, float]]
RUNNING: list[subprocess.Popen[bytes]] = []
STOP = threading.Event()


def main() -> int:
    """Run both lanes to their ends; 0 if every step has passed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # off if a script started this in the background
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as lanes:
        env = environment(Path(folder))
        try:
            report = [
                step for lane in lanes.map(lambda steps: run_lane(steps, env), (CALLS, COMPUTATION)) for step in lane
            ]
        except KeyboardInterrupt:
            STOP.set()
            for step in RUNNING:
                step.send_signal(signal.SIGINT)
            raise
    print()
    for name, passed, seconds in report:
        print(f"{name:16} {'ok' if passed else 'FAILED':7} {seconds:6.1f} s")
    return int(not all(passed for _, passed, _ in report))


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of the steps: none of the user's settings; notebook 03 saves its choice in *folder*."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FAQLAB_", "GOOGLE_", "LIVEKIT_"))}
    retrieval = shutil.copy(ROOT / "data" / "retrieval.json", folder)
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**kept, "PATH": path, "FAQLAB_ENV_FILE": os.devnull, "FAQLAB_RETRIEVAL": str(retrieval)}


def run_lane(steps: Steps, env: dict[str, str]) -> Report:
    """Run the steps one after another; print the output of each when it has ended."""
    report: Report = []
    for name, command in steps.items():
        print(f"{name}: started", flush=True)
        start = time.monotonic()
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as step:
            RUNNING.append(step)
            output = step.communicate()[0].decode(errors="replace")
        seconds = time.monotonic() - start
        print(f"\n=== {name}: {seconds:.1f} s\n{output}", flush=True)
        report.append((name, step.returncode == 0, seconds))
        if STOP.is_set():
            break
    return report


if __name__ == "__main__":
    sys.exit(main())
