"""Compare ONNX Runtime, the serving path, with sentence-transformers, the reference: rankings, speed and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any, Self

import pandas as pd
from tqdm.auto import tqdm

from benchmarks import command
from faqlab.config import BASELINE, RetrievalConfig
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.settings import PROJECT_ROOT, settings

PATHS = ("serving", "reference")
STARTS = 3
SETTLE_S = 0.01
"""Between two queries: torch's threads spin for a moment after each, which would slow the other path."""


def main(
    faqs: command.FaqsOption = None,
    queries: command.QueriesOption = None,
    config: command.ConfigOption = None,
    number: command.NumberOption = None,
    as_json: command.JsonOption = False,
) -> None:
    """Compare ONNX Runtime with sentence-transformers: rankings, time per query, start-up time and memory."""
    faqs = faqs or settings().faqs
    labelled = load_queries(queries or settings().queries, FaqSet.load(faqs))
    texts = command.choose_queries(labelled, number or len(labelled))["query"].tolist()
    report = compare(faqs, texts, command.read_config(config))
    if as_json:
        command.print_json(report)
    else:
        command.typer.echo(pd.DataFrame(report).to_string(float_format="{:g}".format))


def compare(faqs: Path, queries: Sequence[str], config: RetrievalConfig) -> dict[str, dict[str, float]]:
    """
    Answer all *queries* on both paths, with the baseline and, if it differs, with *config*.

    Each path has its own process, encoder and index. Both processes run at the same time and take turns query by query,
    so that both run under the same load. The ratio of their times is the median of the ratios per query, so that long
    queries and busy moments cancel out.

    Returns:
        By configuration: the number of queries, and how many rank identically on both paths (all entries, top 3);
        for each path the median milliseconds per query, the median seconds from the start of the process to its first
        answer, and its peak memory by then in MiB; and how many times faster the serving path is.

    Raises:
        FaqlabError: A file can't be used, or a path fails.
    """
    configs = {"baseline": BASELINE} if config == BASELINE else {"baseline": BASELINE, "as configured": config}
    return {name: _compare(faqs, queries, config, name) for name, config in configs.items()}


def _compare(faqs: Path, queries: Sequence[str], config: RetrievalConfig, name: str) -> dict[str, float]:
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory()))
        running: dict[str, _PathProcess] = {}
        starts: dict[str, list[_PathProcess]] = {path: [] for path in PATHS}
        for n in tqdm(range(STARTS + 1), desc=f"Starts, {name}", unit="start"):
            for path in PATHS:
                if n:
                    running[path].stop()
                running[path] = parts.enter_context(_PathProcess(path, config, faqs, folder))
                if n:  # the first start fills the caches: the indexes, the disk
                    starts[path].append(running[path])
        replies: dict[str, list[dict[str, Any]]] = {path: [] for path in PATHS}
        for n, query in enumerate(tqdm(queries, desc=f"Queries, {name}", unit="query")):
            for path in PATHS if n % 2 else PATHS[::-1]:
                time.sleep(SETTLE_S)
                replies[path].append(running[path].answer(query))
    return _figures(starts, replies)


def _figures(starts: dict[str, list[_PathProcess]], replies: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    start_s = {path: median(process.start_s for process in starts[path]) for path in PATHS}
    peak_mib = {path: median(process.peak_mib for process in starts[path]) for path in PATHS}
    pairs = list(zip(replies["serving"], replies["reference"], strict=True))
    return {
        "queries": len(pairs),
        "queries with the same ranks, all entries": sum(s["ranked"] == r["ranked"] for s, r in pairs),
        "queries with the same top 3": sum(s["ranked"][:3] == r["ranked"][:3] for s, r in pairs),
        **{f"ms per query, p50, {path}": round(median(of["ms"] for of in replies[path]), 2) for path in PATHS},
        "query: times faster": round(median(r["ms"] / s["ms"] for s, r in pairs), 1),
        **{f"s to the first answer, {path}": round(start_s[path], 2) for path in PATHS},
        "first answer: times faster": round(start_s["reference"] / start_s["serving"], 1),
        **{f"peak MiB at the first answer, {path}": round(peak_mib[path]) for path in PATHS},
    }


class _PathProcess:
    """
    One path in its own process.

    Attributes:
        start_s: Seconds from its start to its first answer.
        peak_mib: Its peak memory by then, in MiB.
    """

    def __init__(self, path: str, config: RetrievalConfig, faqs: Path, folder: Path) -> None:
        arguments = [path, config.model_dump_json(), str(faqs), str(folder / path)]
        self._path, self._errors = path, tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.serving_process", *arguments],  # -P: not the current folder's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        try:
            first = self._read()
        except BaseException:
            self.stop()
            raise
        self.start_s, self.peak_mib = time.perf_counter() - started, float(first["peak_mib"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def answer(self, query: str) -> dict[str, Any]:
        """Return the milliseconds that the answer to *query* took (`ms`), and all entries' ids in order (`ranked`)."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has died, and `_read` says why
            print(json.dumps(query), file=self._process.stdin, flush=True)
        return self._read()

    def stop(self) -> None:
        """End it; does nothing the second time."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        if line := self._process.stdout.readline():
            reply: dict[str, Any] = json.loads(line)
            return reply
        self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-1:] or ["no message."]
        raise FaqlabError(f"The {self._path} path failed: {last[0]}")


if __name__ == "__main__":
    command.run(main)
