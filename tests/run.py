"""What `make test` runs: every check, one after the other, and one report at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider"]
STEPS = {
    "ruff": ["-m", "ruff", "check", "--no-cache", "."],
    "format": ["-m", "ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["-m", "mypy", "--no-incremental"],
    "page": ["-c", "import sys; from faqlab.voice.page import npm; sys.exit(npm('test').returncode)"],
    "tests": [*PYTEST, "tests", "--ignore=tests/voice"],
    "voice": ["-m", "pytest", "tests/voice"],
    "notebooks": [*PYTEST, "--nbmake", "--nbmake-timeout=600", "--timeout=900", "notebooks"],
}


def main() -> int:
    """Run every step, also after one has failed; 0 if all passed."""
    with tempfile.TemporaryDirectory() as folder:
        return run_steps(environment(Path(folder)))


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of the steps: nothing of the user's own, and what notebook 03 chooses goes to *folder*."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FAQLAB_", "GOOGLE_", "LIVEKIT_"))}
    retrieval = shutil.copy(ROOT / "data" / "retrieval.json", folder)
    return {**kept, "FAQLAB_ENV_FILE": os.devnull, "FAQLAB_RETRIEVAL": str(retrieval)}


def run_steps(env: dict[str, str]) -> int:
    """Run every step with the variables *env*, and report."""
    # Beside the quick checks.
    prepare = subprocess.Popen([sys.executable, "-m", "faqlab.cli", "prepare"], cwd=ROOT, env=env)
    report = []
    for name, arguments in STEPS.items():
        if name == "page":
            start = time.monotonic()
            report.append(("prepare", prepare.wait(), time.monotonic() - start))
        print(f"\n=== {name}", flush=True)
        start = time.monotonic()
        status = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env).returncode
        if name == "voice" and status:
            # Real calls in real time: a busy machine can lose one. Whatever failed must pass by itself, and it is said.
            print("\n=== voice: second try of what failed", flush=True)
            status = subprocess.run([sys.executable, *arguments, "--last-failed"], cwd=ROOT, env=env).returncode
        report.append((name, status, time.monotonic() - start))
    print()
    for name, status, seconds in report:
        print(f"{name:10} {'ok' if status == 0 else 'FAILED':7} {seconds:6.1f} s")
    failed = sum(status != 0 for _, status, _ in report)
    print(f"{len(report) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
