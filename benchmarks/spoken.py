"""
Spoken queries: each is synthesized and transcribed, the transcript looked up, and the result compared with typing.

The transcripts are saved next to the queries, so that other retrievers can be evaluated on them in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jiwer
import numpy as np
import pandas as pd
from scipy.signal import resample_poly
from tqdm.auto import tqdm

from benchmarks import command
from benchmarks.call_audio import transcribe
from benchmarks.words import normalise_words
from faqlab.decision import Outcome
from faqlab.errors import FaqlabError
from faqlab.evaluation import compare, evaluate
from faqlab.evaluation import summarise as summarise_results
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import settings
from faqlab.text import has_words
from faqlab.voice import tts, whisper
from faqlab.voice.tts import Synthesizer

SPEEDS = (0.8, 1.0, 1.25)
"""Multiples of the synthesizer's normal speed."""

SNR_DB = (np.inf, 10.0)
"""Signal-to-noise ratios in dB: no noise, and a noisy room."""

STAGES = ("transcription", "retrieval", "decision")
"""The stages at which a query can be lost."""

_CONDITION = ["speed", "snr_db"]


def main(
    faqs: command.FaqsOption = None,
    queries: command.QueriesOption = None,
    split: command.SplitOption = "test",
    number: command.NumberOption = None,
    config: command.ConfigOption = None,
    as_json: command.JsonOption = False,
) -> None:
    """Synthesize and transcribe labelled queries, at three speeds, with and without noise; look up the transcripts."""
    entries = FaqSet.load(faqs or settings().faqs)
    retriever = Retriever.build(entries, command.read_config(config))
    labelled = command.read_queries(queries, entries, split, number)
    transcripts = transcribe_spoken(labelled, progress=not as_json)
    if number is None:  # the transcripts of a few queries must not overwrite the complete file
        path = (queries or settings().queries).with_suffix(".spoken.csv")
        _write(transcripts, path)
        command.progress(f"Transcripts written to {path}")
    summary = summarise(*evaluate_transcripts(transcripts, labelled, retriever))
    if as_json:
        command.print_json(summary.replace(np.inf, np.nan).to_dict("records"))
    else:
        command.typer.echo(_report(summary, len(labelled)))


def transcribe_spoken(
    queries: pd.DataFrame,
    speeds: Sequence[float] = SPEEDS,
    snr_db: Sequence[float] = SNR_DB,
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """
    Synthesize each query and return Whisper's transcript.

    Args:
        queries: As `load_queries` returns them.
        speeds: Of the synthesizer.
        snr_db: Signal-to-noise ratios of the pink noise that is added; infinity adds none.
        progress: Show a bar.

    Returns:
        One row per query and condition: `id`, `speed`, `snr_db`, `transcript`.
    """
    rows = []
    jobs = [(row.id, str(row.query), speed) for speed in speeds for row in queries.itertuples()]
    for query_id, query, speed in tqdm(jobs, desc="Speaking and transcribing", unit="query", disable=not progress):
        audio = speak(query, speed)
        for ratio in snr_db:
            rows.append((query_id, speed, ratio, transcribe(add_noise(audio, ratio))))
    return pd.DataFrame(rows, columns=["id", *_CONDITION, "transcript"])


def speak(text: str, speed: float = 1.0) -> np.ndarray:
    """Return *text* spoken by hibari, as Whisper takes it: mono float32, 16 kHz."""
    audio = resample_poly(Synthesizer.shared().speak_all(text, speed), whisper.SAMPLE_RATE, tts.SAMPLE_RATE)
    return audio.astype(np.float32)


def add_noise(audio: np.ndarray, snr_db: float) -> np.ndarray:
    """Return *audio* with pink noise (power falling as 1/f, the same at each call) *snr_db* below its own power."""
    if not len(audio) or np.isinf(snr_db):
        return audio
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(len(audio)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, len(audio))
    gain = np.sqrt(np.mean(audio**2) / max(np.mean(noise**2), 1e-12) / 10 ** (snr_db / 10))
    return np.clip(audio + gain * noise, -1, 1).astype(np.float32)


def evaluate_transcripts(
    transcripts: pd.DataFrame, queries: pd.DataFrame, retriever: Retriever
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """
    Look up the transcripts, and the same queries typed.

    Args:
        transcripts: From `transcribe_spoken`; a query without one counts as transcribed to nothing.
        queries: The same queries, as `load_queries` returns them.
        retriever: What both are looked up with.

    Returns:
        The typed queries, one row each, and the spoken ones, one row per query and condition in the same order. Both
        as `evaluation.evaluate` returns them; the spoken ones also have `speed`, `snr_db`, `transcript`, `words` (how
        many the query has), `word_errors` (substitutions, deletions and insertions) and `lost_at`.
    """
    typed, tables = evaluate(retriever, queries), list[pd.DataFrame]()
    for (speed, ratio), rows in _conditions(transcripts):
        texts = queries["id"].map(rows.set_index("id")["transcript"]).fillna("")
        spoken = queries.assign(query=[text if has_words(text) else "?" for text in texts])  # blanks are refused
        table = evaluate(retriever, spoken).assign(speed=speed, snr_db=ratio, transcript=texts)
        table[["words", "word_errors"]] = [word_errors(*pair) for pair in zip(queries["query"], texts, strict=True)]
        tables.append(table.assign(lost_at=lost_at(table, typed)))
    return typed, pd.concat(tables, ignore_index=True)


def lost_at(spoken: pd.DataFrame, typed: pd.DataFrame) -> np.ndarray:
    """
    Return at which of `STAGES` each spoken query is lost; "" if it ends well.

    An answerable query ends well if a right entry is the answer or among those offered; an out-of-scope query, if it
    isn't answered. A query that doesn't end well is lost at *transcription* if the same query typed ends well; else at
    *retrieval* if no right entry was found; else at *decision*: a right entry was declined, or an out-of-scope query
    answered.

    Args:
        spoken: As `evaluation.evaluate` returns them; `answerable`, `outcome`, `hit@1` and `choice_right` are used.
        typed: The same queries typed, in the same order, with the same columns.
    """
    losses = _lost(spoken)
    return np.where((losses != "") & (_lost(typed) == ""), "transcription", losses)


def _lost(results: pd.DataFrame) -> np.ndarray:
    answerable, outcome = results["answerable"], results["outcome"]
    found = np.where(outcome == Outcome.CLARIFY, results["choice_right"], results["hit@1"] == 1)
    wrong_decision = outcome == np.where(answerable, Outcome.DECLINE, Outcome.ANSWER)
    return np.select([answerable & ~found.astype(bool), wrong_decision], ["retrieval", "decision"], "")


def word_errors(query: str, transcript: str) -> tuple[int, int]:
    """Return how many words *query* has, and how many were substituted, deleted and inserted in *transcript*."""
    said, transcribed = normalise_words(query), normalise_words(transcript)
    if not said:
        return 0, len(transcribed.split())
    counts = jiwer.process_words(said, transcribed)
    return len(said.split()), counts.substitutions + counts.deletions + counts.insertions


def summarise(typed: pd.DataFrame, spoken: pd.DataFrame) -> pd.DataFrame:
    """
    Summarise what `evaluate_transcripts` returned.

    Returns:
        A row for the typed queries (`speed` and `snr_db` are NaN), then one per condition: `speed`, `snr_db`, `WER`,
        `hit@1`, `two turns`, `AUROC`, `false answers at 85%`; the `difference` in hit@1 from typed with its 95%
        interval `low` to `high` and the `p` of the paired test; and the shares of all queries lost at each stage.
    """
    rows: list[dict[str, Any]] = [{"speed": np.nan, "snr_db": np.nan, "WER": 0.0, **_measures(typed)}]
    for (speed, ratio), table in _conditions(spoken):
        lost = table["lost_at"].value_counts(normalize=True)
        rows.append(
            {
                "speed": speed,
                "snr_db": ratio,
                "WER": table["word_errors"].sum() / table["words"].sum(),
                **_measures(table),
                **compare(table.reset_index(drop=True), typed),
                **{stage: float(lost.get(stage, 0.0)) for stage in STAGES},
            }
        )
    return pd.DataFrame(rows)


def _measures(results: pd.DataFrame) -> dict[str, float]:
    values = summarise_results(results)["value"]
    return {
        "hit@1": values["hit@1"],
        "two turns": values["two_turn_success"],
        "AUROC": values["auroc"],
    }


def _conditions(table: pd.DataFrame) -> Iterator[tuple[tuple[float, float], pd.DataFrame]]:
    groups: Any = table.groupby(_CONDITION, sort=False)
    yield from groups


def _write(transcripts: pd.DataFrame, path: Any) -> None:
    try:
        transcripts.to_csv(path, index=False)
    except OSError as error:
        raise FaqlabError(f"{path}: can't be written ({error.strerror}); copy the queries to another folder.") from None


def _report(summary: pd.DataFrame, queries: int) -> str:
    names = ["typed", *(f"spoken, speed {speed:g}" for speed in summary["speed"][1:])]
    noise = ["", *("no noise" if np.isinf(ratio) else f"SNR {ratio:g} dB" for ratio in summary["snr_db"][1:])]
    table = pd.DataFrame({"query": names, "noise": noise, **summary.drop(columns=["speed", "snr_db"])})
    lines = [
        f"{queries} queries. difference: in hit@1 from typed, with its 95% interval and the p of the paired test.",
        f"{', '.join(STAGES)}: the share of all queries that was lost there.",
        "",
        table.to_string(index=False, float_format="{:.3f}".format, na_rep=""),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main)
