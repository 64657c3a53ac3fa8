"""
Speech in several voices and conditions, and how well queries are answered in each.

hibari is always there. flite and espeak-ng are programs (Debian: `apt-get install flite espeak-ng`); without
them, their voices are left out.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import joblib
import numpy as np
import pandas as pd
import typer
from scipy.io import wavfile
from scipy.signal import butter, resample_poly, sosfilt
from tqdm.auto import tqdm

from benchmarks import command, spoken
from faqlab.cache import sha256
from faqlab.decision import Outcome
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


def main(
    split: command.SplitOption = "test",
    number: command.NumberOption = 40,
    config: command.ConfigOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="Also write a CSV file.")] = None,
) -> None:
    """Speak labelled queries in all voices, speeds and conditions, and look up what Whisper makes of them."""
    entries = FaqSet.load(settings().faqs)
    retriever = Retriever.build(entries, command.read_config(config))
    queries = command.read_queries(None, entries, split, None)
    queries = queries[~queries["kind"].isin(UNSPOKEN)].reset_index(drop=True)
    table = measure(retriever, command.choose_queries(queries, number) if number else queries, available())
    if out:
        table.to_csv(out, index=False, float_format="%.3f")
    command.typer.echo(table.to_string(index=False, float_format="{:.3f}".format, na_rep=""))


def measure(retriever: Retriever, queries: pd.DataFrame, voices: Sequence[str]) -> pd.DataFrame:
    """
    Return how well *queries* are answered when they're typed and when they're spoken.

    Returns:
        A row for the typed queries, then for each voice, speed and condition: `voice`, `fitted` (whether something was
        tuned on that voice), `speed`, `condition`, `WER`, `hit@1` (of the answerable), and of all queries the shares
        that are answered `right at once`, `wrong at once`, and `asked again`, because Whisper is too unsure.
    """
    typed = {"voice": "typed", "condition": "", **_shares(evaluate(retriever, queries), np.ones(len(queries)))}
    rows, small_talk = [typed], SmallTalk.load(retriever.encoder)
    said = [(voice, speed, condition) for voice in voices for speed in SPEEDS for condition in CONDITIONS]
    for voice, speed, condition in tqdm([of for of in said if of[1] == 1 or of[2] == "quiet"], desc="Speaking"):
        heard = [recognise(under(condition, speak(query, voice, speed))) for query in queries["query"]]
        texts = [of.text if has_words(of.text) else "?" for of in heard]  # blanks are refused
        errors = np.sum([spoken.word_errors(*pair) for pair in zip(queries["query"], texts, strict=True)], axis=0)
        small = [small_talk.classify(text, retriever.index) is not None for text in texts]
        certainty = np.where(small, 1.0, np.exp([of.log_probability for of in heard]))
        shares = _shares(evaluate(retriever, queries.assign(query=texts)), certainty)
        row = {"voice": voice, "fitted": voice in FITTED, "speed": speed, "condition": condition}
        rows.append({**row, "WER": errors[1] / errors[0], **shares})
    return pd.DataFrame(rows)[list(rows[-1])]


def _shares(results: pd.DataFrame, certainty: np.ndarray) -> dict[str, float]:
    answered = (results["outcome"] == Outcome.ANSWER) & (certainty >= LEAST_CONFIDENCE)
    right = results["answerable"] & (results["hit@1"] == 1)
    return {
        "hit@1": float(results.loc[results["answerable"], "hit@1"].mean()),
        "right at once": float((answered & right).mean()),
        "wrong at once": float((answered & ~right).mean()),
        "asked again": float((certainty < LEAST_CONFIDENCE).mean()),
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
    """Return what Whisper makes of *audio*."""
    return _recognise(audio, sha256(Path(whisper.__file__).read_bytes()))


@memory.cache
def _recognise(audio: np.ndarray, code: str) -> Transcript:
    return Whisper.shared().recognise(audio)


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


LEVEL = 0.08  # root mean square of the speech, of full scale
BABBLE = (
    "So I told her that the train was late again, and she said that she would wait at the corner, by the bakery.",
    "We painted the kitchen at the weekend, and now the whole flat smells, but the colour is really lovely.",
    "He never calls before nine, does he? I was in the garden, and the dog ran off with one of my gloves.",
    "They are moving to the coast in spring. The children are happy, but their grandmother is not so sure.",
)


if __name__ == "__main__":
    command.run(main)
