"""
Queries asked aloud in calls, and what the caller had of it: heard right, answered right, how soon; and with a pause in
the middle, whether the agent cut in. `faqlab bench --calls`.

Caller, agent and server share one machine, and what it has to spare: no network's delay, but each other's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from faqlab.settings import settings
from faqlab.text import plain
from faqlab.voice.caller import Heard
from faqlab.voice.calls import WAIT, call_table
from faqlab.voice.demo import LiveDemo, beside
from faqlab.voice.line import AUDIBLE, FRAME, QUIET_S
from faqlab.voice.spoken import judge

PAUSES_S = (0.3, 0.5, 0.8)
PAUSED_QUERIES = 8
WORDS_TO_PAUSE = 4
"""A shorter query is not paused in: its halves would be a word."""

HANG_UP_AFTER_S = 1.0
"""Into the answer: all that is measured has happened by then."""


def own_demo(faqs: Path, config: Path, progress: Callable[[str], None]) -> LiveDemo:
    """Return a demo, not started, with the offline voice and a server on this machine, whatever keys there are."""
    names = ("google_api_key", "livekit_url", "livekit_api_key", "livekit_api_secret", "records", "room", "port")
    keyless = settings().model_copy(update=dict.fromkeys(names))
    return LiveDemo(faqs=faqs, config=config, settings=keyless, progress=progress)


def choose(queries: pd.DataFrame, number: int, seed: int = 0) -> pd.DataFrame:
    """Return *number* of the *queries*, of each kind in proportion, in their order; all of them if there are fewer."""
    if number >= len(queries):
        return queries
    shares = queries["kind"].value_counts().sort_index() * number
    counts, remainders = shares // len(queries), shares % len(queries)
    counts[remainders.sort_values(ascending=False, kind="stable").index[: number - counts.sum()]] += 1
    chosen = [rows.sample(counts[kind], random_state=seed) for kind, rows in queries.groupby("kind")]
    return pd.concat(chosen).sort_index().reset_index(drop=True)


def measure(
    demo: LiveDemo, queries: pd.DataFrame, *, pauses: Sequence[float] | None = None, progress: bool = True
) -> dict[str, Any]:
    """
    Ask *queries* aloud, each in a call of its own, one call at a time; then some of them with a pause in the middle.

    Args:
        demo: Which runs.
        queries: As `load_queries` returns them.
        pauses: In seconds; `PAUSES_S` if None.
        progress: Show a bar.

    Returns:
        What can be printed as JSON: `queries`; `word_error_rate`, of what was looked up; `right_first`: of how many
        `answerable` the right answer came first, `asked_aloud` and `typed`; `waits`, as `waits` returns them; and
        `pauses`, a row each as `cut_ins` returns it, the first of the queries without one.
    """
    pauses = PAUSES_S if pauses is None else pauses
    long_enough = [len(query.split()) >= WORDS_TO_PAUSE for query in queries["query"]]
    paused = choose(queries[long_enough], PAUSED_QUERIES)
    script: list[tuple[str, float | None]] = [(query, None) for query in queries["query"]]
    script += [(query, pause) for pause in pauses for query in paused["query"]]

    async def all_calls() -> list[Heard]:
        calls = tqdm(script, desc="Calls", unit="call", disable=not progress)
        return [await demo.ask(query, pause=pause, hang_up_after=HANG_UP_AFTER_S) for query, pause in calls]

    heard = beside(all_calls())
    whole, halves = heard[: len(queries)], heard[len(queries) :]
    calls = call_table(whole, {record.id: record for record in demo.calls.records})
    looked_up = [_looked_up(of) for of in whole]
    spoken = pd.DataFrame({"id": queries["id"], "speed": 1.0, "snr_db": np.inf, "heard": looked_up})
    typed, judged = judge(spoken, queries, demo.retriever)
    first_and_relevant = zip(calls["retrieved"], queries["relevant"], strict=True)
    rows = [cut_ins(whole, 0.0)]
    rows += [cut_ins(halves[n * len(paused) :][: len(paused)], pause) for n, pause in enumerate(pauses)]
    return {
        "queries": len(queries),
        "word_error_rate": round(float(judged["word_errors"].sum() / judged["words"].sum()), 4),
        "right_first": {
            "answerable": int(queries["answerable"].sum()),
            "asked_aloud": sum(bool(ids) and ids[0] in relevant for ids, relevant in first_and_relevant),
            "typed": int(typed.loc[typed["answerable"], "hit@1"].sum()),
        },
        "waits": waits(calls),
        "pauses": rows,
    }


def waits(calls: pd.DataFrame) -> dict[str, Any]:
    """
    Return how long the callers waited, by the table *calls* of `call_table`.

    Returns:
        `calls`: how many are measured, those in which there was a look-up and an answer, and no cut-in before it;
        `p50_ms` and `p95_ms` from the end of speech to the first audio at the caller; `parts_p50_ms`: the medians of
        its parts (`WAIT`), and of what is left, `transport`: there and back, and until the agent notices the silence.
        None where nothing is measured.
    """
    measured = calls[~calls["cut_in"].astype(bool)].dropna(subset=["first_sound_ms", "voice_ms"])
    parts = pd.DataFrame({name: measured[columns].sum(axis=1) for name, columns in WAIT.items()})
    parts["transport"] = measured["first_sound_ms"] - parts.sum(axis=1)
    return {
        "calls": len(measured),
        "p50_ms": _percentile(measured["first_sound_ms"], 50),
        "p95_ms": _percentile(measured["first_sound_ms"], 95),
        "parts_p50_ms": {str(name): _percentile(part, 50) for name, part in parts.items()},
    }


def cut_ins(exchanges: Sequence[Heard], pause: float) -> dict[str, Any]:
    """
    Return how the agent bore a *pause*, in seconds, in the middle of each of the questions; 0 for none.

    Returns:
        `pause_s`; `queries`; on how many it `cut_in`: began to speak before the caller had finished; on how many of
        these it `yielded`: was quiet again by then; on how many of those it heard the `halves_as_one` question; and
        the median of the seconds that it spoke for before it was quiet, `spoke_p50_s`.
    """
    over = [heard for heard in exchanges if heard.cut_in]
    spoke = [end - start for heard in over for start, end in utterances(heard.audio)[:1]]
    yielded = [heard for heard in over if _yielded(heard)]
    return {
        "pause_s": pause,
        "queries": len(exchanges),
        "cut_in": len(over),
        "yielded": len(yielded),
        "halves_as_one": sum(holds_both_halves(heard.asked, _looked_up(heard)) for heard in yielded),
        "spoke_p50_s": _percentile(spoke, 50, digits=2),
    }


def utterances(audio: np.ndarray) -> list[tuple[float, float]]:
    """Return from when to when, in seconds, somebody speaks in *audio*, int16 at `RATE`, without the short gaps."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float32)
    loud = np.flatnonzero(np.sqrt(np.mean(np.square(frames), axis=1)) > AUDIBLE)
    if not len(loud):
        return []
    stretches = np.split(loud, np.flatnonzero(np.diff(loud) > QUIET_S * 100) + 1)
    return [(int(stretch[0]) / 100, int(stretch[-1] + 1) / 100) for stretch in stretches]


def holds_both_halves(query: str, heard: str) -> bool:
    """Whether of each half of *query*, parted in its middle, at least every other word was *heard* in its place."""
    said, words = plain(query).split(), plain(heard).split()
    if len(said) < 2 or not words:
        return False
    [chunks] = jiwer.process_words(" ".join(said), " ".join(words)).alignments
    right = [n for chunk in chunks if chunk.type == "equal" for n in range(chunk.ref_start_idx, chunk.ref_end_idx)]
    middle = len(said) // 2
    first = sum(n < middle for n in right)
    return 2 * first >= middle and 2 * (len(right) - first) >= len(said) - middle


def table(report: dict[str, Any]) -> str:
    """Return the *report* of `measure` for people."""
    right, wait = report["right_first"], report["waits"]
    parts = wait["parts_p50_ms"]
    lines = {
        "words heard wrong (WER)": f"{report['word_error_rate']:.1%}",
        "right answer first": f"{right['asked_aloud']} of {right['answerable']} (typed: {right['typed']})",
        "end of speech to first audio": f"p50 {_ms(wait['p50_ms'])}, p95 {_ms(wait['p95_ms'])}; {wait['calls']} calls",
        "  until the words are there": _ms(parts["transcript"]),
        "  until the look-up": _ms(parts["turn"]),
        "  the look-up": _ms(parts["look-up"]),
        "  until the voice begins": _ms(parts["voice"]),
        "  noticing the end, and the way": _ms(parts["transport"]),
    }
    pauses = (
        pd.DataFrame(report["pauses"])
        .astype({"spoke_p50_s": float})
        .rename(columns=lambda name: name.replace("_", " "))
    )
    return "\n".join(
        [
            f"{report['queries']} queries asked aloud, each in a call of its own; the parts are medians\n",
            *(f"{name:32} {value}" for name, value in lines.items()),
            "\nCallers who pause in mid-question (0: who do not), and on how many of them the agent cut in,",
            "yielded before they had finished, and then heard both halves as one question\n",
            pauses.to_string(index=False, na_rep="–"),
        ]
    )


def _looked_up(heard: Heard) -> str:
    """Return what the agent took the question to be: by its last look-up or, where it made none, its transcript."""
    return str(heard.lookups[-1]["query"]) if heard.lookups else heard.heard_as


def _yielded(heard: Heard) -> bool:
    return all(end < heard.spoke_until_s for start, end in utterances(heard.audio) if start < heard.spoke_until_s)


def _percentile(values: Any, percent: float, digits: int = 0) -> float | None:
    return round(float(np.percentile(values, percent)), digits) if len(values) else None


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
