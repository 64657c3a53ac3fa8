"""
Speech in several voices and conditions, and how well queries are answered in each.

hibari is always there. flite and espeak-ng are programs (Debian: `apt-get install flite espeak-ng`); without
them, their voices are left out.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import joblib
import numpy as np
import pandas as pd
import typer
from scipy.io import wavfile
from scipy.signal import butter, resample_poly, sosfilt
from tqdm.auto import tqdm

from benchmarks import command, spoken
from faqlab.cache import sha256
from faqlab.evaluation import evaluate
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import settings
from faqlab.small_talk import SmallTalk
from faqlab.text import has_words
from faqlab.voice import tts, whisper
from faqlab.voice.agent import LEAST_CONFIDENCE
from faqlab.voice.whisper import Transcript, Whisper

RATE = whisper.SAMPLE_RATE
FITTED = ("hibari", "flite rms", "flite kal16", "espeak en-us")
"""The voices that models of this project may be fitted to."""

HELD_OUT = ("flite slt", "flite awb", "espeak en-gb", "espeak en-gb-scotland")
"""The voices that such models are judged on."""

CONDITIONS = ("quiet", "babble", "fan", "telephone")
SNR_DB = 10.0
"""Signal-to-noise ratio of the babble and the fan."""

memory = joblib.Memory(Path(tempfile.gettempdir()) / "faqlab-voices", verbose=0)
"""Keeps speech and transcripts, so that a benchmark's second run takes seconds."""


SPEEDS = (0.8, 1.0, 1.25)
"""Of the voices, relative to their usual one; only the usual one is measured in noise."""

UNSPOKEN = ("keyword", "typo")
"""The kinds of queries that nobody says aloud."""

EVERYDAY = "everyday"
"""The kind of query that most callers ask, of which most are taken."""


def main(
    split: command.SplitOption = "test",
    number: command.NumberOption = 120,
    config: command.ConfigOption = None,
    base: Annotated[bool, typer.Option("--base", help="Also measure Whisper base, at the usual speed.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="Also write a CSV file.")] = None,
) -> None:
    """Speak answerable queries in all voices, speeds and conditions, and look up what Whisper makes of them."""
    entries = FaqSet.load(settings().faqs)
    retriever = Retriever.build(entries, command.read_config(config))
    queries = choose(command.read_queries(None, entries, split, None), number or 120)
    ways = [*said(settings().stt), *(way for way in said("base") if base and way[2] == 1)]
    table = measure(retriever, queries, ways, jobs=-1)
    if out:
        table.to_csv(out, index=False, float_format="%.3f")
    command.typer.echo(table.to_string(index=False, float_format="{:.3f}".format, na_rep=""))


def choose(queries: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return *number* of the answerable *queries* that people say aloud: as many everyday ones as there are."""
    queries = queries[queries["answerable"] & ~queries["kind"].isin(UNSPOKEN)]
    everyday, others = (queries[(queries["kind"] == EVERYDAY) == side].reset_index(drop=True) for side in (True, False))
    first = command.choose_queries(everyday, number)
    return pd.concat([first, command.choose_queries(others, number - len(first))], ignore_index=True)


Way = tuple[str, str, float, str]  # model, voice, speed and condition


def said(model: str) -> list[Way]:
    """Return what is measured, in each voice: only the usual speed in noise."""
    every = itertools.product([model], available(), SPEEDS, CONDITIONS)
    return [way for way in every if way[2] == 1 or way[3] == "quiet"]


def measure(retriever: Retriever, queries: pd.DataFrame, ways: Sequence[Way], jobs: int = 1) -> pd.DataFrame:
    """
    Return how well *queries* are answered when they're typed and when they're spoken in the *ways* that `said` returns.

    Args:
        jobs: How many processes speak and transcribe; -1: one for each core.

    Returns:
        A row for the typed queries, then one for each way: `model`, `voice`, `fitted` (whether something was tuned on
        that voice), `speed`, `condition`, `WER`, `hit@1`, `right at once`, `wrong at once`, `asked again` (because
        Whisper is too unsure), all shares of the answerable queries, and `STT s`, the median time of a transcription.
    """
    small_talk = SmallTalk.load(retriever.encoder)
    rows: list[dict[str, Any]] = [{"voice": "typed", **_shares(evaluate(retriever, queries), np.ones(len(queries)))}]
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator")
    heard = parallel(joblib.delayed(_hear)(queries["query"], way) for way in ways)
    heard = list(tqdm(heard, desc="Speaking and transcribing", total=len(ways)))
    for (model, voice, speed, condition), results in zip(ways, heard, strict=True):
        texts = [of.text if has_words(of.text) else "?" for of, _ in results]  # blanks are refused
        errors = np.sum([spoken.word_errors(*pair) for pair in zip(queries["query"], texts, strict=True)], axis=0)
        small = [small_talk.classify(text, retriever.index) is not None for text in texts]
        certainty = np.where(small, 1.0, np.exp([of.log_probability for of, _ in results]))
        shares = _shares(evaluate(retriever, queries.assign(query=texts)), certainty)
        row = {"model": model, "voice": voice, "fitted": voice in FITTED, "speed": speed, "condition": condition}
        seconds = float(np.median([s for _, s in results]))
        rows.append({**row, "WER": errors[1] / errors[0], **shares, "STT s": seconds})
    return pd.DataFrame(rows)[list(rows[-1])]


def _hear(queries: Sequence[str], way: Way) -> list[tuple[Transcript, float]]:
    model, voice, speed, condition = way
    return [_recognise(under(condition, speak(query, voice, speed)), model, _code()) for query in queries]


def _shares(results: pd.DataFrame, certainty: np.ndarray) -> dict[str, float]:
    results, certain = results[results["answerable"]], (certainty >= LEAST_CONFIDENCE)[results["answerable"]]
    return {
        "hit@1": float(results["hit@1"].mean()),
        "right at once": float((certain & (results["result"] == "answered right")).mean()),
        "wrong at once": float((certain & (results["result"] == "answered wrong")).mean()),
        "asked again": float((~certain).mean()),
    }


def available(voices: tuple[str, ...] = FITTED + HELD_OUT) -> list[str]:
    """Return those of *voices* that are installed."""
    programs = {"flite": "flite", "espeak": "espeak-ng"}
    return [voice for voice in voices if voice == "hibari" or shutil.which(programs[voice.split()[0]])]


@memory.cache
def speak(text: str, voice: str, speed: float = 1.0) -> np.ndarray:
    """Return the speech for *text*: mono float32, 16 kHz, without silence at its ends; *speed* is relative."""
    program, _, name = voice.partition(" ")
    if program == "hibari":
        audio = spoken.speak(text, speed)
    else:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            flite = ["flite", "-voice", name, "--setf", f"duration_stretch={1 / speed}", "-t", text]
            espeak = ["espeak-ng", "-v", name, "-s", f"{175 * speed:.0f}", text]
            command = [*flite, "-o", file.name] if program == "flite" else [*espeak, "-w", file.name]
            subprocess.run(command, check=True, capture_output=True)
            rate, samples = wavfile.read(file.name)
        audio = resample_poly(samples / 32768, RATE, rate)
    audio = audio * LEVEL / max(float(np.sqrt(np.mean(audio**2))), 1e-6)
    audible = np.flatnonzero(np.abs(audio) > tts.AUDIBLE)
    return np.clip(audio[audible[0] : audible[-1] + 1], -1, 1).astype(np.float32)


def recognise(audio: np.ndarray) -> Transcript:
    """Return what Whisper makes of *audio*: the model that the settings name."""
    return _recognise(audio, settings().stt, _code())[0]


@memory.cache
def _recognise(audio: np.ndarray, model: str, code: str) -> tuple[Transcript, float]:
    if model not in _models:
        _models[model] = Whisper(model)
    begun = time.perf_counter()
    return _models[model].recognise(audio), time.perf_counter() - begun


def _code() -> str:
    return sha256(Path(whisper.__file__).read_bytes())


def under(condition: str, audio: np.ndarray) -> np.ndarray:
    """Return *audio* as it sounds in one of `CONDITIONS`."""
    if condition == "telephone":
        narrow = resample_poly(sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), audio), 1, 2)
        codes = np.round(np.sign(narrow) * np.log1p(255 * np.abs(np.clip(narrow, -1, 1))) / np.log(256) * 127)
        expanded = np.sign(codes) * (256 ** (np.abs(codes) / 127) - 1) / 255
        return resample_poly(expanded, 2, 1).astype(np.float32)
    if condition == "quiet":
        return audio
    noise = _babble(len(audio)) if condition == "babble" else _fan(len(audio))
    power = max(float(np.mean(noise**2)), 1e-12) * 10 ** (SNR_DB / 10)
    return np.clip(audio + noise * np.sqrt(np.mean(audio**2) / power), -1, 1).astype(np.float32)


def _fan(samples: int) -> np.ndarray:
    """Noise below 500 Hz with the hum of a motor, the same at each call."""
    hiss = sosfilt(butter(2, 500, fs=RATE, output="sos"), np.random.default_rng(0).standard_normal(samples))
    return hiss + 0.2 * np.sin(2 * np.pi * 117 * np.arange(samples) / RATE)


def _babble(samples: int) -> np.ndarray:
    """Four people who talk at once."""
    mixed = np.zeros(samples)
    for voice, text in zip(available()[:4], BABBLE, strict=False):
        mixed += np.resize(speak(text, voice), samples)
    return mixed


_models: dict[str, Whisper] = {}
LEVEL = 0.08  # root mean square of the speech, of full scale
BABBLE = (
    "So I told her that the train was late again, and she said that she would wait at the corner, by the bakery.",
    "We painted the kitchen at the weekend, and now the whole flat smells, but the colour is really lovely.",
    "He never calls before nine, does he? I was in the garden, and the dog ran off with one of my gloves.",
    "They are moving to the coast in spring. The children are happy, but their grandmother is not so sure.",
)


if __name__ == "__main__":
    from benchmarks import voices  # under this name, the other benchmarks share the speech that is kept

    command.run(voices.main)
