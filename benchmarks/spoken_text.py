"""
How much of a text with numbers, prices, times, addresses or markup comes back when it's spoken and transcribed.

    python -m benchmarks.spoken_text [--failures]

Speaks the column `written` of `spoken_text.csv` with hibari, as calls do, and transcribes it with Whisper. A case is
right if the transcript says the same as the column `spoken`; both are compared in words, so "20 euros" equals "twenty
euros".
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from faqlab.voice.spoken_text import speakable
from faqlab.voice.tts import SAMPLE_RATE, Synthesizer
from faqlab.voice.whisper import SAMPLE_RATE as HEARD_RATE
from faqlab.voice.whisper import Whisper

with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as _file:
    CASES = [(row["domain"], row["written"], row["spoken"]) for row in csv.DictReader(_file)]
"""Domain, text as written, and text as a person would read it."""


def letters(text: str) -> str:
    """Return *text* in words, as letters alone: Whisper may write "e-mail" or "email", "7:30" or "seven thirty"."""
    spoken = speakable(text.replace("%", " percent")).casefold().replace("ise", "ize").replace("tre", "ter")
    return re.sub(r"\band\b|o'clock|[^a-z]", "", spoken)


def transcribe(text: str) -> str:
    """Return what Whisper makes of *text*, spoken by hibari."""
    audio = resample_poly(Synthesizer.shared().speak_all(text), HEARD_RATE, SAMPLE_RATE).astype(np.float32)
    return Whisper.shared().transcribe(audio)


def main() -> None:
    """Print the share of cases that came back right, and with `--failures` those that didn't."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failures", action="store_true", help="also print the cases that didn't come back")
    show = parser.parse_args().failures
    wrong = [(spoken, got) for _, written, spoken in CASES if letters(got := transcribe(written)) != letters(spoken)]
    for spoken, got in wrong if show else []:
        print(f"spoken:      {spoken}\ntranscribed: {got}\n")
    print(f"{len(CASES) - len(wrong)} of {len(CASES)} came back right.")


if __name__ == "__main__":
    main()
