"""The serving path against the reference, each in a process of its own: `faqlab bench`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Self

from tqdm.auto import tqdm

from faqlab.encoder import ReferenceEncoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.retriever import BASELINE, RetrievalConfig, Retriever
from faqlab.settings import settings

PATHS = ("serving", "reference")
STARTS = 3
SETTLE_S = 0.01
"""Between two queries: the threads of torch spin on for a moment, and would slow the other path."""


def compare_paths(faqs: Path, queries: Path, chosen: RetrievalConfig) -> dict[str, dict[str, float]]:
    """
    Answer all *queries* by both paths, with the baseline and, if that is another, with the *chosen* configuration.

    Each path has an index of its own, of vectors by its own encoder. Both run at the same time and take turns, query
    by query, so that they see the same machine. The ratio of their times is the median of the queries' own ratios:
    what a long query or a busy moment adds to both falls out.

    Returns:
        By configuration: how many queries there are, and how many have identical ranks by both paths (whole and
        top 3); by path the median milliseconds a query, seconds from the start of the process until its first answer
        is here, and peak memory in MiB by then; and how many times faster the serving path is.

    Raises:
        FaqlabError: a file cannot be used, or a path fails.
    """
    from faqlab.queries import load_queries  # pandas: no part of the paths, whose processes import this module

    texts = load_queries(queries, FaqSet.load(faqs))["query"].tolist()
    configs = {"baseline": BASELINE}
    if chosen != BASELINE:
        configs["as configured"] = chosen
    return {name: _compare(faqs, texts, config, name) for name, config in configs.items()}


def _compare(faqs: Path, queries: Sequence[str], config: RetrievalConfig, name: str) -> dict[str, float]:
    figures: list[dict[str, list[float]]] = [{path: [] for path in PATHS} for _ in range(3)]
    start_s, peak_mib, ms = figures
    same = same_top_3 = 0
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory()))
        running: dict[str, _Process] = {}
        for n in tqdm(range(STARTS + 1), desc=f"Starts, {name}", unit="start"):
            for path in PATHS:
                if n:
                    running[path].stop()
                running[path] = parts.enter_context(_Process(path, config, faqs, folder))
                if n:  # the first start fills what is kept: the exported model, the indexes, the disk cache
                    start_s[path].append(running[path].start_s)
                    peak_mib[path].append(running[path].peak_mib)
        for n, query in enumerate(tqdm(queries, desc=f"Queries, {name}", unit="query")):
            ranked = {}
            for path in PATHS if n % 2 else PATHS[::-1]:
                time.sleep(SETTLE_S)
                reply = running[path].ask(query)
                ms[path].append(reply["ms"])
                ranked[path] = reply["ranked"]
            serving, reference = (ranked[path] for path in PATHS)
            same += serving == reference
            same_top_3 += serving[:3] == reference[:3]
    return {
        "queries": len(queries),
        "queries with the same ranks, all entries": same,
        "queries with the same top 3": same_top_3,
        **{f"ms a query, p50, {path}": round(median(ms[path]), 2) for path in PATHS},
        "query: times faster": round(median(r / s for s, r in zip(*ms.values(), strict=True)), 1),
        **{f"s to the first answer, {path}": round(median(start_s[path]), 2) for path in PATHS},
        "first answer: times faster": round(median(start_s["reference"]) / median(start_s["serving"]), 1),
        **{f"peak MiB at the first answer, {path}": round(median(peak_mib[path])) for path in PATHS},
    }


class _Process:
    """
    One path in a process of its own.

    Attributes:
        start_s: Seconds from its start until its first answer was here.
        peak_mib: Of its memory by then.
    """

    def __init__(self, path: str, config: RetrievalConfig, faqs: Path, folder: Path) -> None:
        arguments = [path, json.dumps(asdict(config)), str(faqs), str(folder / path)]
        self._path, self._errors = path, tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "faqlab.bench", *arguments],  # -P: no module of the current folder's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
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

    def ask(self, query: str) -> dict[str, Any]:
        """Return the milliseconds (`ms`) that the answer to *query* took, and all ids as `ranked`."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has died, and `_read` says why
            print(json.dumps(query), file=self._process.stdin, flush=True)
        return self._read()

    def stop(self) -> None:
        """End it; a second time does nothing."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-1:] or ["no message."]
        raise FaqlabError(f"The {self._path} path could not be measured: {last[0]}")


def _answer_in_this_process(path: str, config: str, faqs: str, folder: str) -> None:
    """Load one *path* with its index in *folder*, answer, and go on to answer and to rank what comes by stdin."""
    values = json.loads(config)
    chosen = RetrievalConfig(**values | {"views": tuple(values["views"])})
    reference = path == "reference"
    encoder = ReferenceEncoder(chosen.encoder) if reference else load_encoder(chosen.encoder, settings().cache_dir)
    entries = FaqSet.load(faqs)
    retriever = Retriever.build(entries, chosen, encoder=encoder, cache_dir=Path(folder))
    retriever.answer(entries.entries[0].question)
    print(json.dumps({"peak_mib": _peak_mib()}), flush=True)  # noqa: T201
    for line in sys.stdin:
        query = json.loads(line)
        start = time.perf_counter()
        retriever.answer(query)
        ms = (time.perf_counter() - start) * 1e3
        [ranking] = retriever.rank([query])
        ranked = [entries.entries[entry].id for entry in ranking.entries]
        print(json.dumps({"ms": ms, "ranked": ranked}), flush=True)  # noqa: T201


def _peak_mib() -> float:
    try:  # Linux's ru_maxrss counts the parent's memory, too
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


if __name__ == "__main__":
    try:
        _answer_in_this_process(*sys.argv[1:])
    except FaqlabError as error:
        sys.exit(str(error))
