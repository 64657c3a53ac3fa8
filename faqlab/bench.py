"""The serving path against the reference, each in processes of its own: `faqlab bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from tqdm.auto import tqdm

from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT

STARTS = 3

PROBE = """
import json, resource, sys, time
start = time.perf_counter()
which, faqs_path, queries_path = sys.argv[1:]
from faqlab.encoder import MINILM, ReferenceEncoder, load_encoder
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import settings
encoder = ReferenceEncoder(MINILM) if which == "reference" else load_encoder(MINILM, settings().cache_dir)
retriever = Retriever.build(FaqSet.load(faqs_path), encoder=encoder)
retriever.answer("where is my parcel?")
first = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024) / 1024
from faqlab.queries import load_queries
queries = load_queries(queries_path, retriever.faqs)["query"].tolist()
times = []
for query in queries:
    start = time.perf_counter()
    retriever.answer(query)
    times.append(time.perf_counter() - start)
ranks = [[hit.faq.id for hit in retriever.search(query, 1000)] for query in queries]
print(json.dumps({"first": first, "peak_gib": peak, "times": times, "ranks": ranks}))
"""


def compare_encoders(faqs: Path, queries: Path) -> dict[str, Any]:
    """
    Run both encoders over all *queries*, alternating fresh processes, and compare medians within this run.

    Returns:
        How many queries have identical ranks (whole and top 3), milliseconds a query, seconds from process start
        to the first answer (Python's own start-up included in neither), the two ratios, and peak memory in MiB.
    """
    runs: dict[str, list[dict[str, Any]]] = {"serving": [], "reference": []}
    for which in tqdm(["serving", *["reference", "serving"] * STARTS][: 2 * STARTS + 1], desc="Processes", unit="run"):
        runs[which].append(_probe(which, faqs, queries))
    del runs["serving"][0]  # the first one may have exported the model and filled the disk cache
    ms = {which: median(t for run in of for t in run["times"]) * 1e3 for which, of in runs.items()}
    first = {which: median(run["first"] for run in of) for which, of in runs.items()}
    peak = {which: median(run["peak_gib"] for run in of) * 1024 for which, of in runs.items()}
    serving, reference = runs["serving"][0]["ranks"], runs["reference"][0]["ranks"]
    same = sum(a == b for a, b in zip(serving, reference, strict=True))
    same_3 = sum(a[:3] == b[:3] for a, b in zip(serving, reference, strict=True))
    return {
        "queries": len(serving),
        "queries with the same ranks, all entries": same,
        "queries with the same top 3": same_3,
        "ms a query, serving": round(ms["serving"], 2),
        "ms a query, reference": round(ms["reference"], 2),
        "query: times faster": round(ms["reference"] / ms["serving"], 1),
        "s to the first answer, serving": round(first["serving"], 2),
        "s to the first answer, reference": round(first["reference"], 2),
        "first answer: times faster": round(first["reference"] / first["serving"], 1),
        "peak MiB at the first answer, serving": round(peak["serving"]),
        "peak MiB at the first answer, reference": round(peak["reference"]),
    }


def _probe(which: str, faqs: Path, queries: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", PROBE, which, str(faqs.resolve()), str(queries.resolve())]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    if run.returncode:
        last = run.stderr.strip().splitlines()[-1:] or ["no message"]
        raise FaqlabError(f"The {which} encoder could not be measured: {last[0]}")
    return json.loads(run.stdout.splitlines()[-1])
