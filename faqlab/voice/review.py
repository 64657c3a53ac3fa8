"""Spoken queries beside their labels: which were answered right, and which stage lost the others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from faqlab.retriever import Outcome, Retriever
from faqlab.voice.caller import Heard
from faqlab.voice.calls import STAGES, LookupRecord


def call_table(exchanges: Sequence[Heard], records: Mapping[str, LookupRecord]) -> pd.DataFrame:
    """
    Return one row an exchange.

    Args:
        exchanges: What the scripted caller wrote down.
        records: The agent's own, by id: only these know when its voice began.

    Returns:
        `asked`, `heard`, `outcome`, `retrieved`, `said`, `first_sound_ms` and the stages as `…_ms`.
    """
    rows = []
    for heard in exchanges:
        lookup = heard.lookups[-1] if heard.lookups else None
        record = records.get(lookup["id"]) if lookup else None
        stages = record.milliseconds if record else lookup["milliseconds"] if lookup else {}
        seconds = heard.end_of_speech_to_first_audio_s
        rows.append(
            {
                "asked": heard.asked,
                "heard": heard.heard_as,
                "outcome": lookup["outcome"] if lookup else None,
                "retrieved": [hit["id"] for hit in lookup["hits"]] if lookup else [],
                "said": heard.answer_text,
                "first_sound_ms": None if seconds is None else round(seconds * 1e3),
                **{f"{stage}_ms": stages.get(stage) for stage in STAGES},
            }
        )
    return pd.DataFrame(rows)


def review(calls: pd.DataFrame, queries: pd.DataFrame, retriever: Retriever) -> pd.DataFrame:
    """
    Join spoken queries with their labels.

    Args:
        calls: From `LiveDemo.call`.
        queries: From `load_queries`; the same queries, in the same order.
        retriever: The agent's.

    Returns:
        *calls* with `kind`, `relevant`, `right` and `lost_at`: "" where it is right, else the first stage that lost
        it. That is *hearing* if the same words typed would have been answered right, *look-up* if none was made,
        *retrieval* if no relevant entry came first, *decision* if it did and was not spoken, or should not have been,
        *voice* if nothing was heard of the right answer.
    """
    table = calls.assign(kind=list(queries["kind"]), relevant=list(queries["relevant"]))
    verdicts = [_lost_at(row, retriever) for row in table.to_dict("records")]
    return table.assign(lost_at=verdicts, right=[not verdict for verdict in verdicts])


def _lost_at(row: dict[Hashable, Any], retriever: Retriever) -> str:
    relevant, retrieved = tuple(row["relevant"]), tuple(row["retrieved"])
    if row["outcome"] is None:
        return "look-up"
    wrong = _wrong(str(row["outcome"]), retrieved, relevant)
    if not wrong:
        return "" if row["said"] else "voice"
    typed = retriever.answer(str(row["asked"]))
    ids = tuple(hit.faq.id for hit in typed.hits)
    return wrong if _wrong(typed.outcome, ids, relevant) else "hearing"


def _wrong(outcome: str, retrieved: tuple[str, ...], relevant: tuple[str, ...]) -> str:
    if not relevant:
        return "" if outcome == Outcome.DECLINE else "decision"
    if outcome == Outcome.ASK_BACK:
        return "" if set(retrieved) & set(relevant) else "retrieval"
    if retrieved[:1] and retrieved[0] in relevant:
        return "" if outcome == Outcome.ANSWER else "decision"
    return "retrieval"
