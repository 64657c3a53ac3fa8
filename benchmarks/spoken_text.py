"""
How much of a text with numbers, prices, times, addresses or markup comes back when it's spoken and transcribed.

    python -m benchmarks.spoken_text [--failures]

Speaks the column `written` of `spoken_text.csv` with hibari, as calls do, and transcribes it with Whisper. A case is
right if the transcript says the same as the column `spoken`; both are compared in words, so "20 euros" equals "twenty
euros".
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import command
from benchmarks.call_audio import transcribe
from benchmarks.spoken import speak
from faqlab.voice.spoken_text import speakable

with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as _file:
    CASES = [(row["domain"], row["written"], row["spoken"]) for row in csv.DictReader(_file)]
"""Domain, text as written, and text as a person would read it."""


def letters(text: str) -> str:
    """Return *text* in words, as letters alone: Whisper may write "e-mail" or "email", "7:30" or "seven thirty"."""
    spoken = speakable(text.replace("%", " percent")).casefold().replace("ise", "ize").replace("tre", "ter")
    return re.sub(r"\band\b|o'clock|[^a-z]", "", spoken)


def main(failures: Annotated[bool, typer.Option("--failures", help="Also print the other cases.")] = False) -> None:
    """Print how many texts came back right when they were spoken and transcribed."""
    transcripts = [(spoken, transcribe(speak(written))) for _, written, spoken in CASES]
    wrong = [(spoken, got) for spoken, got in transcripts if letters(got) != letters(spoken)]
    for spoken, got in wrong if failures else []:
        typer.echo(f"spoken:      {spoken}\ntranscribed: {got}\n")
    typer.echo(f"{len(CASES) - len(wrong)} of {len(CASES)} came back right.")


if __name__ == "__main__":
    command.run(main)
