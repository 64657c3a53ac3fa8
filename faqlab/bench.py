"""The serving path against the reference, each in processes of its own: `faqlab bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from tqdm.auto import tqdm

from faqlab.encoder import MINILM
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT

STARTS = 3

PROBE = """
import json, resource, sys, time
start = time.perf_counter()
which, name, faqs_path, queries_path = sys.argv[1:]
from faqlab.encoder import ReferenceEncoder, load_encoder
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import settings
encoder = ReferenceEncoder(name) if which == "reference" else load_encoder(name, settings().cache_dir)
retriever = Retriever.build(FaqSet.load(faqs_path), encoder=encoder)
retriever.answer("where is my parcel?")
first = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)
from faqlab.queries import load_queries
queries = load_queries(queries_path, retriever.faqs)["query"].tolist()
times = []
for query in queries:
    start = time.perf_counter()
    retriever.answer(query)
    times.append(time.perf_counter() - start)
ranks = [[hit.faq.id for hit in retriever.search(query, 1000)] for query in queries]
print(json.dumps({"first": first, "peak_mib": peak, "times": times, "ranks": ranks}))
"""


def compare_encoders(faqs: Path, queries: Path, chosen: str = MINILM) -> dict[str, Any]:
    """
    Run the plain encoder by both paths over all *queries*, and the *chosen* one if that is another, in fresh
    processes by turns, and compare medians within this run.

    Returns:
        How many queries have identical ranks by both paths (whole and top 3); for each encoder and path milliseconds
        a query, seconds from process start to the first answer (Python's own start-up not included), and peak memory
        in MiB; and how many times faster the serving path is.
    """
    systems = {"serving": ("serving", MINILM), "reference": ("reference", MINILM)}
    if chosen != MINILM:
        systems["serving, chosen encoder"] = ("serving", chosen)
    serving = [name for name, (path, _) in systems.items() if path == "serving"]
    turns = [*serving, *list(systems) * STARTS]  # the first ones may export the model, and fill the disk cache
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in systems}
    for name in tqdm(turns, desc="Processes", unit="run"):
        runs[name].append(_probe(*systems[name], faqs, queries))
    for name in serving:
        del runs[name][0]
    ranks, expected = runs["serving"][0]["ranks"], runs["reference"][0]["ranks"]
    report: dict[str, Any] = {
        "queries": len(ranks),
        "queries with the same ranks, all entries": sum(a == b for a, b in zip(ranks, expected, strict=True)),
        "queries with the same top 3": sum(a[:3] == b[:3] for a, b in zip(ranks, expected, strict=True)),
    }
    ms = {name: median(t for run in of for t in run["times"]) * 1e3 for name, of in runs.items()}
    first = {name: median(run["first"] for run in of) for name, of in runs.items()}
    report |= {f"ms a query, {name}": round(value, 2) for name, value in ms.items()}
    report["query: times faster"] = round(ms["reference"] / ms["serving"], 1)
    report |= {f"s to the first answer, {name}": round(value, 2) for name, value in first.items()}
    report["first answer: times faster"] = round(first["reference"] / first["serving"], 1)
    for name, of in runs.items():
        report[f"peak MiB at the first answer, {name}"] = round(median(run["peak_mib"] for run in of))
    return report


def _probe(which: str, encoder: str, faqs: Path, queries: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", PROBE, which, encoder, str(faqs.resolve()), str(queries.resolve())]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    if run.returncode:
        last = run.stderr.strip().splitlines()[-1:] or ["no message"]
        raise FaqlabError(f"The {which} encoder could not be measured: {last[0]}")
    return json.loads(run.stdout.splitlines()[-1])
