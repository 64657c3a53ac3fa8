"""Spoken queries beside their labels: which were answered right, which stage lost the others, where the time went."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from faqlab.decision import Outcome
from faqlab.plots import DARK, MIDDLE, PALE, styled
from faqlab.retriever import Retriever
from faqlab.voice.calls import WAIT

SLICES = {
    "hearing and waiting for the end": (WAIT["transcript"], PALE, ""),
    "deciding": (WAIT["turn"], "#7f8c94", ""),
    "retrieval": (WAIT["look-up"], MIDDLE, "///"),
    "voice": (WAIT["voice"], DARK, ""),
    "the way there and back": (["network_ms"], "white", "..."),
}
"""Of the time to the first sound: columns, colour and hatching of each slice."""


def review(calls: pd.DataFrame, queries: pd.DataFrame, retriever: Retriever) -> pd.DataFrame:
    """
    Join spoken queries with their labels.

    Args:
        calls: From `LiveDemo.call`.
        queries: From `load_queries`; the same queries, in the same order.
        retriever: The agent's.

    Returns:
        *calls* with `kind`, `relevant`, `right` and `lost_at`: "" where it is right, else the first stage that lost
        it. Right is what ends well in `faqlab.voice.spoken`, too: a relevant entry is answered with or among those
        offered, or, out of scope, nothing is answered, looked up or not. Lost is it at *hearing* if the same words
        typed would have ended well, *look-up* if one was due and none was made, *retrieval* if no relevant entry came
        first or was offered, *decision* if one did and was not spoken, or none is and something was, *voice* if
        nothing was heard of what is right.
    """
    table = calls.assign(kind=list(queries["kind"]), relevant=list(queries["relevant"]))
    verdicts = [_lost_at(row, retriever) for row in table.to_dict("records")]
    return table.assign(lost_at=verdicts, right=[not verdict for verdict in verdicts])


def _lost_at(row: dict[Hashable, Any], retriever: Retriever) -> str:
    relevant = set(row["relevant"])
    if row["outcome"] is None and relevant:
        return "look-up"
    wrong = _wrong(str(row["outcome"]), row["retrieved"], row["offered"], relevant)
    if not wrong:
        return "" if row["said"] else "voice"
    typed = retriever.answer(str(row["asked"]))
    ids = [hit.faq.id for hit in typed.hits]
    return wrong if _wrong(typed.outcome, ids, ids[: len(typed.choices)], relevant) else "hearing"


def _wrong(outcome: str, retrieved: Sequence[str], offered: Sequence[str], relevant: set[str]) -> str:
    if not relevant:
        return "decision" if outcome == Outcome.ANSWER else ""
    if not relevant & set(offered if outcome == Outcome.ASK_BACK else retrieved[:1]):
        return "retrieval"
    return "decision" if outcome == Outcome.DECLINE else ""


@styled
def stage_times(calls: pd.DataFrame) -> Figure:
    """Draw a bar a query: from the end of the question to the first sound of the answer, stage by stage."""
    looked_up = calls.dropna(subset=["voice_ms", "first_sound_ms"]).iloc[::-1]
    times = looked_up.filter(like="_ms")
    at_agent = times.drop(columns="first_sound_ms").sum(axis=1)
    times = times.assign(network_ms=(times["first_sound_ms"] - at_agent).clip(lower=0))
    figure, ax = plt.subplots(figsize=(9, 1.4 + 0.32 * len(times)))
    left = pd.Series(0.0, index=times.index)
    rows = range(len(times))
    for name, (columns, colour, hatch) in SLICES.items():
        width = times[columns].sum(axis=1)
        ax.barh(
            rows,
            width,
            left=left,
            color=colour,
            hatch=hatch,
            edgecolor="#333333",
            linewidth=0.5,
            height=0.7,
            label=f"{name}, median {width.median():.0f} ms",
        )
        left = left + width
    ax.set_yticks(rows, [text if len(text) <= 45 else text[:44] + "…" for text in looked_up["asked"]])
    ax.set_xlabel("milliseconds from the end of the question to the first sound of the answer, at the caller")
    ax.set_title("Where the time goes")
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.9 / figure.get_figheight()), ncols=3)
    plt.close(figure)
    return figure
