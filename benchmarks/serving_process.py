"""One serving path in its own process: started by `benchmarks/serving.py`; answers the queries on its stdin."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from faqlab.config import RetrievalConfig
from faqlab.encoder import Encoder, ReferenceEncoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import settings


def main(path: str, config: str, faqs: str, folder: str) -> None:
    """
    Answer a first query, then print a JSON line for each query that is read.

    Args:
        path: `serving` or `reference`.
        config: The retrieval configuration as JSON.
        faqs: The FAQ file.
        folder: Where the index is kept.
    """
    chosen = RetrievalConfig.model_validate_json(config)
    names = [*filter(None, [chosen.encoder, chosen.second_encoder])]
    if path == "reference":
        encoders: list[Encoder] = [*map(ReferenceEncoder, names)]
    else:
        encoders = [load_encoder(name, settings().cache_dir) for name in names]
        if unlisted := [encoder.name for encoder in encoders if isinstance(encoder, ReferenceEncoder)]:
            raise FaqlabError(f"{unlisted[0]} runs on sentence-transformers only; add a row to `SERVED` for it.")
    entries = FaqSet.load(faqs)
    each = [chosen.with_changes(encoder=encoder.name, second_encoder="") for encoder in encoders]
    parts = [Retriever.build(entries, *of, Path(folder)) for of in zip(each, encoders, strict=True)]
    retriever = parts[0]
    retriever.beside = parts[1] if parts[1:] else None
    retriever.answer(entries.entries[0].question)
    _print({"peak_mib": peak_mib()})
    for line in sys.stdin:
        query = json.loads(line)
        start = time.perf_counter()
        retriever.answer(query)
        milliseconds = (time.perf_counter() - start) * 1e3
        [ranking] = retriever.rank([query])
        _print({"ms": milliseconds, "ranked": [entries.entries[entry].id for entry in ranking.entries]})


def peak_mib() -> float:
    """Return the peak memory of this process so far, in MiB."""
    try:  # Linux's ru_maxrss includes the parent's memory
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


def _print(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FaqlabError as error:
        sys.exit(str(error))
