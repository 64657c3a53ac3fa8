"""
Fit how long the STT waits: `python -m training.endpointing` prints the constants of faqlab/voice/endpointing.py.

A logistic regression tells whole utterances from their beginnings by what Whisper would write after the last word, in
the voices that models may be fitted to. The wait falls with its log-odds. How steeply is chosen to make waits and
cut-offs cost least while few pauses of half a second are cut off. `python -m benchmarks.endpointing` judges it, on
other utterances in other voices.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from benchmarks import command
from benchmarks.endpointing import observe
from benchmarks.voices import FITTED, available
from faqlab.voice.endpointing import features, waits

STRENGTH = 0.03
"""The inverse of the regularisation, chosen by leaving out one of the voices at a time."""

MOST_CUT = 0.06
"""The share of pauses of 0.5 s that may be cut off in these voices; in others, it's a little lower."""

PAUSES_S = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
CUT_OFF_S = 0.35
"""To be cut off costs as much as to wait this long."""


def main() -> None:
    """Print the constants."""
    table = observe("tune", available(FITTED))
    ending = np.array([features(transcript) for transcript in table["transcript"]])
    model = LogisticRegression(C=STRENGTH).fit(ending, table["whole"], balanced(table))
    sure, per = choose_waits(model.decision_function(ending), table)
    weights = ", ".join(f"{weight:.2f}" for weight in model.coef_[0])
    command.typer.echo(f"WEIGHTS, BIAS = np.array([{weights}]), {model.intercept_[0]:.2f}")
    command.typer.echo(f"SURE, PER_LOG_ODDS = {sure:.2f}, {per:.2f}")


def balanced(table: pd.DataFrame) -> np.ndarray:
    """Return weights with which whole utterances and pauses of each voice weigh the same."""
    groups = table.groupby(["voice", "whole"])["text"].transform("size")
    return np.array(len(table) / groups)


def choose_waits(log_odds: np.ndarray, table: pd.DataFrame) -> tuple[float, float]:
    """Return the log-odds from which the end counts as sure, and the seconds to wait per unit that is missing."""
    whole, found = table["whole"].to_numpy(bool), list[tuple[float, float]]()
    sure = float(np.quantile(log_odds[~whole], 1 - MOST_CUT))
    for per in np.arange(0.02, 0.5, 0.01):
        seconds = waits(log_odds, sure, per)
        cut_off = np.mean([np.mean(seconds[~whole] < pause) for pause in PAUSES_S])
        found.append((float(np.mean(seconds[whole]) + CUT_OFF_S * cut_off), float(per)))
    return sure, min(found)[1]


if __name__ == "__main__":
    command.run(main)
