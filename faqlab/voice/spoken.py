"""
Queries said aloud: spoken by the offline voice, heard by the offline ears, and searched. `faqlab bench --spoken`.

What was heard is kept as text, so that another retriever can be judged by it in seconds. The audio is made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jiwer
import numpy as np
import pandas as pd
from scipy.signal import resample_poly
from tqdm.auto import tqdm

from faqlab.decision import Outcome
from faqlab.evaluation import compare, evaluate, false_answer_rate_at, summarise
from faqlab.retriever import Retriever
from faqlab.text import plain
from faqlab.voice import ears, speech
from faqlab.voice.ears import Ears
from faqlab.voice.speech import Voice

SPEEDS = (0.8, 1.0, 1.25)
"""Of the voice, as multiples of its own pace."""

NOISE_DB = (np.inf, 10.0)
"""Signal-to-noise ratios in dB: a quiet room, and a loud one."""

CONDITION = ["speed", "snr_db"]


def hear(
    queries: pd.DataFrame,
    speeds: Sequence[float] = SPEEDS,
    snr_db: Sequence[float] = NOISE_DB,
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """
    Say each query and write down what is heard.

    Args:
        queries: As `load_queries` returns them.
        speeds: Of the voice.
        snr_db: Signal-to-noise ratios of the pink noise that is added; infinity adds none.
        progress: Show a bar.

    Returns:
        One row a query and condition: `id`, `speed`, `snr_db`, `heard`.
    """
    voice, listener, rows = Voice.shared(), Ears.shared(), []
    conditions = [(row.id, row.query, speed) for speed in speeds for row in queries.itertuples()]
    for query_id, query, speed in tqdm(conditions, desc="Speaking and hearing", unit="query", disable=not progress):
        said = resample_poly(voice.speak_all(str(query), speed), ears.SAMPLE_RATE, speech.SAMPLE_RATE)
        for ratio in snr_db:
            rows.append((query_id, speed, ratio, listener.transcribe(with_noise(said, ratio))))
    return pd.DataFrame(rows, columns=["id", *CONDITION, "heard"])


def with_noise(audio: np.ndarray, snr_db: float) -> np.ndarray:
    """Return *audio* with pink noise (power falling as 1/f, the same at each call) *snr_db* below its own power."""
    if not len(audio) or np.isinf(snr_db):
        return audio
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(len(audio)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, len(audio))
    gain = np.sqrt(np.mean(audio**2) / max(np.mean(noise**2), 1e-12) / 10 ** (snr_db / 10))
    return np.clip(audio + gain * noise, -1, 1).astype(np.float32)


def judge(heard: pd.DataFrame, queries: pd.DataFrame, retriever: Retriever) -> tuple[pd.DataFrame, pd.DataFrame]:
    """
    Search for what was heard, and hold it against the labels and against the same queries typed.

    Args:
        heard: From `hear`.
        queries: The same queries, as `load_queries` returns them.
        retriever: By which both are answered.

    Returns:
        The queries as typed, one row each, by `evaluation.evaluate`; and as heard, one row a query and condition, in
        the same order, with `heard`, `words`, `word_errors` (substituted, left out and added) and `lost_at` besides:
        "" where the query ends well, else *hearing* where the same words typed would, *retrieval* where no relevant
        entry came first or was offered, or *decision*.
    """
    typed = evaluate(retriever, queries)
    fine = dict(zip(typed["id"], _ends_well(typed), strict=True))
    tables: list[pd.DataFrame] = []
    conditions: Any = heard.groupby(CONDITION, sort=False)
    for (speed, ratio), rows in conditions:
        words = queries["id"].map(rows.set_index("id")["heard"]).fillna("")
        spoken = queries.assign(query=[text if plain(text) else "?" for text in words])
        table = evaluate(retriever, spoken).assign(speed=speed, snr_db=ratio, heard=words)
        table[["words", "word_errors"]] = [_errors(q, h) for q, h in zip(queries["query"], words, strict=True)]
        found = np.where(table["outcome"] == Outcome.ASK_BACK, table["choice_right"], table["hit@1"] == 1)
        lost = [~table["answerable"] | found, table["id"].map(fine)]
        causes = np.select([_ends_well(table), lost[1], lost[0]], ["", "hearing", "decision"], "retrieval")
        tables.append(table.assign(lost_at=causes))
    return typed, pd.concat(tables, ignore_index=True)


def summary(typed: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """
    Return one row for the queries *typed* and one a condition in which they were *judged*, both by `judge`: `speed`,
    `snr_db`, `WER`; `hit@1`, its `difference` from typed with interval and `p` of the paired test; `two turns`,
    `AUROC`, `false answers at 85 %`; and the shares of all queries lost at `hearing`, `retrieval` and `decision`.
    """
    rows: list[dict[str, Any]] = [{"speed": np.nan, "snr_db": np.nan, "WER": 0.0, **_figures(typed)}]
    for (speed, ratio), table in judged.groupby(CONDITION, sort=False):
        lost = table["lost_at"].value_counts(normalize=True)
        rows.append(
            {
                "speed": speed,
                "snr_db": ratio,
                "WER": table["word_errors"].sum() / table["words"].sum(),
                **_figures(table),
                **compare(table.reset_index(drop=True), typed),
                **{stage: float(lost.get(stage, 0.0)) for stage in ("hearing", "retrieval", "decision")},
            }
        )
    return pd.DataFrame(rows)


def by_condition(typed: pd.DataFrame, judged: pd.DataFrame, measure: str = "hit@1") -> dict[str, pd.DataFrame]:
    """
    Return a *measure* with its interval for the queries typed and for each room, both by `judge`.

    Returns:
        For "typed", "quiet room" and each noise, a table: one row a speed, columns `value`, `low`, `high`.
    """
    by_hand = summarise(typed).loc[measure]
    tables = {"typed": dict.fromkeys(sorted(judged["speed"].unique()), by_hand)}
    conditions: Any = judged.groupby(CONDITION)
    for (speed, ratio), rows in conditions:
        room = "quiet room" if np.isinf(ratio) else f"noise at {ratio:g} dB"
        tables.setdefault(room, {})[speed] = summarise(rows.reset_index(drop=True)).loc[measure]
    return {room: pd.DataFrame(rows).T.rename("speed {:g}".format) for room, rows in tables.items()}


def _figures(table: pd.DataFrame) -> dict[str, float]:
    values = summarise(table)["value"]
    return {
        "hit@1": values["hit@1"],
        "two turns": values["two_turn_success"],
        "AUROC": values["auroc"],
        "false answers at 85 %": false_answer_rate_at(table),
    }


def _ends_well(table: pd.DataFrame) -> np.ndarray:
    """Whether each query is answered right within two turns or, out of scope, is not answered."""
    return np.where(table["answerable"], table["two_turns"] == 1, ~table["answered"])


def _errors(said: str, heard: str) -> tuple[int, int]:
    said, heard = plain(said), plain(heard)
    if not said:
        return 0, len(heard.split())
    counts = jiwer.process_words(said, heard)
    return len(said.split()), counts.substitutions + counts.deletions + counts.insertions
