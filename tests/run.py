"""What `make test` runs: every check, slow ones beside one another, and one report at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider"]
NBMAKE = [*PYTEST, "--nbmake", "--nbmake-timeout=600", "--timeout=900"]
LIVE_DEMO = "notebooks/05_live_demo.ipynb"
NOTEBOOKS = sorted({f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")} - {LIVE_DEMO})
GRACE_S = 15
TESTS_FAILED = 1
"""Pytest's status when tests ran to the end and some failed: of another, no list of what failed is left."""
STEPS = {
    "prepare": ["-m", "faqlab.cli", "prepare"],
    "ruff": ["-m", "ruff", "check", "--no-cache", "."],
    "format": ["-m", "ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["-m", "mypy", "--no-incremental"],
    "page": ["-c", "import sys; from faqlab.voice.page import npm; sys.exit(npm('test').returncode)"],
    "tests": [*PYTEST, "tests", "--ignore=tests/voice"],
    "voice": ["-m", "pytest", "tests/voice"],  # with its cache: a second try reads there what failed
    "notebooks": [*NBMAKE, *NOTEBOOKS],
    "live demo": [*NBMAKE, LIVE_DEMO],
}


def main() -> int:
    """Run every step, also after one has failed; 0 if all passed."""
    heed_interrupts()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return run_steps(environment(Path(folder)))
    except KeyboardInterrupt:
        print("\nInterrupted.")
        return 128 + signal.SIGINT


def heed_interrupts() -> None:
    """Let Ctrl-C end this process and its steps, also where a script put it in the background: shells turn it off."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    with tempfile.TemporaryFile() as words, beside("voice", env, words, options=["--cache-clear"]) as voice:
        for name in ("mypy", "tests", "notebooks"):
            report[name] = run(name, env, ["nice", "-n", "19"])
        print("\n=== voice: calls in real time, still under way", flush=True)
        status, seconds = voice()
    if status == TESTS_FAILED:
        # Real calls in real time: a busy machine can lose one. What failed must pass at a second try, and it is said.
        again = run("voice", env, options=["--last-failed"])
        report["voice, second try"] = again[0], seconds + again[1]
    else:
        report["voice"] = status, seconds
    report["live demo"] = run("live demo", env)
    print()
    for name, (status, seconds) in report.items():
        print(f"{name:17} {'ok' if status == 0 else 'FAILED':7} {seconds:6.1f} s")
    failed = sum(status != 0 for status, _ in report.values())
    print(f"{len(report) - failed} passed, {failed} failed")
    return int(failed > 0)


def run(name: str, env: dict[str, str], prefix: Sequence[str] = (), options: Sequence[str] = ()) -> tuple[int, float]:
    """Run one step, its command after *prefix* and with *options*; return its status and how many seconds it took."""
    print("\n===", name, *options, flush=True)
    with beside(name, env, prefix=prefix, options=options) as ended:
        return ended()


@contextmanager
def beside(
    name: str,
    env: dict[str, str],
    words: IO[bytes] | None = None,
    prefix: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Iterator[Callable[[], tuple[int, float]]]:
    """Run a step beside others; what it puts into *words* is printed when it has ended. The rest as for `run`."""
    start = time.monotonic()
    command = [*prefix, sys.executable, *STEPS[name], *options]
    with (
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=words, stderr=words and subprocess.STDOUT) as process,
        ThreadPoolExecutor() as pool,
    ):
        ended = pool.submit(lambda: (process.wait(), time.monotonic() - start))
        try:
            yield ended.result
        finally:
            if not ended.done():
                print(f"\nWaiting for {name} to clear up.", flush=True)
                try:  # it was interrupted like this process, or else is now
                    wait([ended], GRACE_S)
                    if not ended.done():
                        process.send_signal(signal.SIGINT)
                        wait([ended], GRACE_S)
                finally:
                    process.terminate()
                    ended.result()  # all its words are there
            if words:
                print(f"\n=== {name} (beside the others)", flush=True)
                words.seek(0)
                shutil.copyfileobj(words, sys.stdout.buffer)
                sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
