"""
Endpointing by the field's measure: how many pauses in mid-sentence the STT cuts off, and how long it waits at the end.

Whole utterances and their beginnings, up to a pause, in several voices. A pause is cut off if it lasts longer than the
STT waits after what was said before it.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import joblib
import numpy as np
import pandas as pd
import typer
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from benchmarks import command
from benchmarks.voices import FITTED, RATE, available, recognise, speak
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.settings import settings
from faqlab.voice.endpointing import completeness, waits
from faqlab.voice.tts import AUDIBLE
from faqlab.voice.whisper import Transcript

SPOKEN = Path(__file__).with_suffix(".csv")
"""Utterances of kinds that the labelled queries don't have: addresses, numbers and short replies."""

KINDS = {
    "everyday": "question",
    "paraphrase": "question",
    "keyword": "keywords",
    "spoken": "story",
    "indirect": "story",
}
"""The kinds of labelled queries that are read aloud, and what they are called here."""

PER_KIND = 24
PAUSES_S = (0.3, 0.5, 0.6, 0.7)
LEAST_WORDS = 2  # before a pause
BOUNDARY = ("and", "or", "but", "so", "because", "that", "to", "for", "with", "when", "if", "at", "in", "on")
"""Speakers pause before these, and after a comma."""


def main(
    split: command.SplitOption = "test",
    as_json: command.JsonOption = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="Also write what was said.")] = None,
) -> None:
    """Report cut-offs and waits by voice and by kind of utterance; held-out voices are those nothing was fitted to."""
    table = observe(split, available(), progress=not as_json)
    table["log_odds"] = [completeness(transcript) for transcript in table["transcript"]]
    report = summarise(table)
    if out:
        table["fitted"] = table["voice"].isin(FITTED)
        columns = ["voice", "fitted", "kind", "whole", "log_odds"]
        table.to_csv(out, columns=columns, index=False, float_format="%.2f")
    if as_json:
        command.print_json(report.to_dict("records"))
    else:
        command.typer.echo(report.to_string(index=False, float_format="{:.3f}".format, na_rep="–"))


def utterances(split: str) -> pd.DataFrame:
    """Return what is said, of the *split* tune or test: `kind` and `text`."""
    queries = load_queries(settings().queries, FaqSet.load(settings().faqs), split)
    queries = queries[queries["kind"].isin(KINDS)].assign(kind=lambda rows: rows["kind"].map(KINDS))
    some = [rows.sample(PER_KIND, random_state=0) for _, rows in queries.groupby("kind")]
    questions = queries[queries["kind"] == "question"].sample(2 * PER_KIND, random_state=0)
    some = [rows for rows in some if rows["kind"].iloc[0] != "question"]
    written = pd.read_csv(SPOKEN)
    table = pd.concat([questions, *some, written[written["split"] == split].rename(columns={"text": "query"})])
    return table.rename(columns={"query": "text"})[["kind", "text"]].reset_index(drop=True)


def pauses(text: str, seed: int = 0) -> list[int]:
    """Return after how many words a speaker might pause in mid-sentence: at a boundary of phrases, and anywhere."""
    words = text.split()
    places = range(LEAST_WORDS, len(words))
    boundaries = [n for n in places if words[n].lower() in BOUNDARY or words[n - 1][-1] in ",.;?!"]
    random = np.random.default_rng([seed, len(text)])
    chosen = {int(random.choice(some)) for some in (boundaries, list(places)) if len(some)}
    return sorted(n for n in chosen if words[n - 1][-1] not in ".?!")


def observe(split: str, voices: list[str], *, progress: bool = True) -> pd.DataFrame:
    """Return one row per voice and utterance or beginning of one: `voice`, `kind`, `text`, `whole`, `transcript`."""
    said = [(voice, *row) for voice in voices for row in utterances(split).itertuples(index=False, name=None)]
    rows = joblib.Parallel(n_jobs=-1, return_as="generator")(joblib.delayed(_observe)(*of) for of in said)
    rows = tqdm(rows, desc="Speaking and transcribing", unit="utterance", total=len(said), disable=not progress)
    columns = ["voice", "kind", "text", "whole", "transcript"]
    return pd.DataFrame(itertools.chain.from_iterable(rows), columns=columns)


def _observe(voice: str, kind: str, text: str) -> list[tuple[str, str, str, bool, Transcript]]:
    rows, audio, length = [], speak(text, voice), len(text.split())
    for words in [*pauses(text), length]:
        part = audio if words == length else audio[: cut(audio, text, words, voice)]
        transcript = recognise(np.pad(part, (0, RATE // 10)))
        rows.append((voice, kind, " ".join(text.split()[:words]), words == length, transcript))
    return rows


def cut(audio: np.ndarray, text: str, words: int, voice: str) -> int:
    """Return the sample after so many *words*: the quietest one near where it should be, without silence before it."""
    before, after = (len(speak(" ".join(part), voice)) for part in (text.split()[:words], text.split()[words:]))
    expected, reach = int(len(audio) * before / (before + after)), RATE // 7
    start = max(0, expected - reach)
    power = np.convolve(np.square(audio[start : expected + reach]), np.ones(RATE // 50), "same")
    audible = np.flatnonzero(np.abs(audio[: start + int(power.argmin())]) > AUDIBLE)
    return int(audible[-1]) + 1


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """
    Return cut-offs and waits.

    Args:
        table: From `observe`, with the `log_odds` that the end was reached.

    Returns:
        A row for each voice, then for each kind in the held-out voices: the AUROC of the log-odds; the shares of pauses
        of each length that are cut off; the median, mean and 95th percentile of the waits after the end, and the share
        of at most 0.5 s.
    """
    known = table["voice"].isin(FITTED)
    voices = {voice: f"{voice}{'' if voice in FITTED else ' *'}" for voice in table["voice"].unique()}
    groups = [(name, table[table["voice"] == voice]) for voice, name in voices.items()]
    groups += [("all fitted", table[known]), ("all held out *", table[~known])]
    groups += [(f"{kind} *", table[~known & (table["kind"] == kind)]) for kind in table["kind"].unique()]
    return pd.DataFrame([{"what": name, **_figures(rows)} for name, rows in groups if len(rows)])


def _figures(rows: pd.DataFrame) -> dict[str, float]:
    rows = rows.assign(wait=waits(rows["log_odds"]))
    ends, middles = rows[rows["whole"]], rows[~rows["whole"]]
    both = len(ends) and len(middles)
    return {
        "pauses": len(middles),
        "ends": len(ends),
        "AUROC": float(roc_auc_score(rows["whole"], rows["log_odds"])) if both else np.nan,
        **{f"cut {pause} s": float((middles["wait"] < pause).mean()) for pause in PAUSES_S},
        "wait p50": float(ends["wait"].median()),
        "mean": float(ends["wait"].mean()),
        "p95": float(ends["wait"].quantile(0.95)),
        "≤ 0.5 s": float((ends["wait"] <= 0.5).mean()),
    }


if __name__ == "__main__":
    command.run(main)
