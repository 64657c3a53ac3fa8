"""What `make test` runs: every check, slow ones beside one another, and one report at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider"]
NBMAKE = [*PYTEST, "--nbmake", "--nbmake-timeout=600", "--timeout=900"]
*NOTEBOOKS, LIVE_DEMO = [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
GRACE_S = 15
STEPS = {
    "prepare": ["-m", "faqlab.cli", "prepare"],
    "ruff": ["-m", "ruff", "check", "--no-cache", "."],
    "format": ["-m", "ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["-m", "mypy", "--no-incremental"],
    "page": ["-c", "import sys; from faqlab.voice.page import npm; sys.exit(npm('test').returncode)"],
    "tests": [*PYTEST, "tests", "--ignore=tests/voice"],
    "voice": ["-m", "pytest", "tests/voice"],
    "notebooks": [*NBMAKE, *NOTEBOOKS],
    "live demo": [*NBMAKE, LIVE_DEMO],
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
    report = {}
    with beside("prepare", env) as prepare:
        for name in ("ruff", "format"):
            report[name] = run(name, env)
        report["prepare"] = prepare()
    report["page"] = run("page", env)
    # Minutes of calls, which mostly wait, beside minutes of work, which must take little of what those need.
    with tempfile.TemporaryFile() as words, beside("voice", env, words) as voice:
        for name in ("mypy", "tests", "notebooks"):
            report[name] = run(name, env, ["nice", "-n", "19"])
        print("\n=== voice: calls in real time, the rest of them", flush=True)
        report["voice"] = voice()
    if report["voice"][0]:
        # Real calls in real time: a busy machine can lose one. What failed must pass at a second try.
        report["voice"] = run("voice", env, options=["--last-failed"])
    report["live demo"] = run("live demo", env)
    print()
    for name, (status, seconds) in report.items():
        print(f"{name:10} {'ok' if status == 0 else 'FAILED':7} {seconds:6.1f} s")
    failed = sum(status != 0 for status, _ in report.values())
    print(f"{len(report) - failed} passed, {failed} failed")
    return int(failed > 0)


def run(name: str, env: dict[str, str], prefix: Sequence[str] = (), options: Sequence[str] = ()) -> tuple[int, float]:
    """Run one step, its command after *prefix* and with *options*; return its status and how many seconds it took."""
    print("\n===", name, *options, flush=True)
    start = time.monotonic()
    status = subprocess.run([*prefix, sys.executable, *STEPS[name], *options], cwd=ROOT, env=env).returncode
    return status, time.monotonic() - start


@contextmanager
def beside(name: str, env: dict[str, str], words: IO[bytes] | None = None) -> Iterator[Callable[[], tuple[int, float]]]:
    """Run a step beside others; what it puts into *words* is printed when it has ended."""
    start = time.monotonic()
    command = [sys.executable, *STEPS[name]]
    with (
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=words, stderr=words and subprocess.STDOUT) as process,
        ThreadPoolExecutor() as pool,
    ):
        ended = pool.submit(lambda: (process.wait(), time.monotonic() - start))
        try:
            yield ended.result
        finally:
            with suppress(TimeoutError):  # it has ended, or was interrupted like the others and clears up
                ended.result(GRACE_S)
            process.terminate()
            ended.result()
            if words:
                print(f"\n=== {name} (beside the others)", flush=True)
                words.seek(0)
                shutil.copyfileobj(words, sys.stdout.buffer)
                sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
