"""Two systems on the same queries: which is better, by how much, and on which queries."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faqlab import evaluation
from faqlab.errors import FaqlabError

PRICES = {"wrong": 5.0, "false": 5.0, "declined": 1.0, "clarified": 0.2}
"""The cost of a wrong answer, of an answer to an out-of-scope query, of a decline and of a clarifying question."""

DECIDING = {"hit@1": 1, "cost": -1}
"""The measures by which B is better or worse, and the sign of what is better."""

SCORES = dict.fromkeys(("confidence", "two_turns", *evaluation.MEASURES), float)
TEXTS = dict.fromkeys(("id", "query", "relevant", "found", "result"), str)
COLUMNS: Any = {**TEXTS, "answerable": bool, "answered": bool, **SCORES}
"""What is compared of the results of `evaluation.evaluate`."""


def load_run(path: Path) -> pd.DataFrame:
    """Read the results that `faqlab evaluate --save` wrote; FaqlabError if it didn't write this file."""
    try:
        # Only a score may be missing: "None" is a query, too.
        missing = dict.fromkeys(SCORES, "")
        run = pd.read_csv(path, usecols=[*COLUMNS], dtype=COLUMNS, na_values=missing, keep_default_na=False)
        scored = run[[*evaluation.MEASURES]].apply(lambda scores: scores.between(0, 1 + 1e-9))
        whole = scored.eq(run["answerable"], axis=0).all(axis=1) & run["result"].isin(evaluation.RESULTS)
        if run.empty or run["id"].duplicated().any() or not whole.all():
            raise ValueError
        return run
    except (OSError, ValueError):
        remedy = "save one with `faqlab evaluate --save`, or compare configurations with --faqs, or FAQs with --config"
        raise FaqlabError(f"{path}: not a saved run; {remedy}.") from None


def compare(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, Any]:
    """
    Compare the results of two systems, query by query; FaqlabError if they are for different queries.

    Returns the fields of `faqlab compare --json` from `measures` on, as docs/output.md describes them.
    """
    a, b = (of.set_index("id", drop=False).rename_axis(None).sort_index() for of in (a, b))
    same = ["query", "answerable", *(["relevant"] if isinstance(a["relevant"].iat[0], str) else [])]
    if not a[same].equals(b[same]):  # the labels of saved runs, as those of two FAQs may be questions
        remedy = "evaluate both with the same --queries and --split"
        raise FaqlabError(f"A and B are for different queries, or for other ids or labels of the same; {remedy}.")
    before, after = (evaluation.per_query(of).assign(cost=_cost(of)) for of in (a, b))
    tests = {name: evaluation.compare(b.assign(of=after[name]), a.assign(of=before[name]), "of") for name in after}
    measures = pd.DataFrame({"a": before.mean(), "b": after.mean()}).join(pd.DataFrame(tests).T)
    measures["corrected_p"] = measures.groupby(measures.index.isin([*DECIDING]))["p"].transform(evaluation.holm)
    gain = (measures["difference"] * measures.index.map(DECIDING)).where(measures["corrected_p"] < 0.05)
    measures["b_is"] = np.select([gain > 0, gain < 0], ["better", "worse"], "")
    # Out of scope, B wins by answering no more.
    won = (after["hit@1"] - before["hit@1"]).fillna(a["answered"].astype(int) - b["answered"])
    sides = [of[["found", "result"]].add_suffix(suffix) for suffix, of in (("_a", a), ("_b", b))]
    changed = pd.concat([a[["id", "query"]], *sides], axis=1)
    counts = {name: evaluation.result_counts(of).to_dict("index") for name, of in (("A", a), ("B", b))}
    return {
        "measures": measures.to_dict("index"),
        "outcomes": dict(sorted((f"{scope}: {name}", n) for name, of in counts.items() for scope, n in of.items())),
        "won": changed[won > 0].to_dict("records"),
        "lost": changed[won < 0].to_dict("records"),
    }


def _cost(results: pd.DataFrame) -> pd.Series:
    result, inside = results["result"], results["answerable"]
    wrong = inside.map({True: PRICES["wrong"], False: PRICES["false"]}) * (result == "answered wrong")
    # After a clarifying question without a right choice, the caller is declined.
    declined = PRICES["declined"] * (inside & result.isin(["declined", "clarified wrong"]))
    return wrong + declined + PRICES["clarified"] * result.str.startswith("clarified")
