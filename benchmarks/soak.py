"""Hundreds of calls to one agent: whether its memory, open files and threads stay as they are."""

from __future__ import annotations

import time
from itertools import cycle, islice
from typing import Annotated, Any

import pandas as pd
import psutil
import typer

from benchmarks import command
from benchmarks.programs import SHORT_FAQ, Page, answered_right, serving
from benchmarks.scripted_caller import Exchange, place_calls
from faqlab.errors import FaqlabError

SETTLE_S = 10.0
"""After a caller has left, the agent waits some seconds before it ends the call."""


def main(
    calls: Annotated[int, typer.Option(min=1, metavar="N", help="How many calls to make.")] = 500,
    at_once: command.AtOnceOption = 2,
    at: Annotated[list[int] | None, typer.Option(metavar="N", help="After how many calls to measure, too.")] = None,
    as_json: command.JsonOption = False,
) -> None:
    """
    Call one agent again and again, with a question in each call, and measure the agent's process in between.

    Each caller interrupts the greeting with a question, hears the answer and hangs up.
    """
    points = sorted({0, calls, *(n for n in at or (10, 250) if 0 < n < calls)})
    with serving(FAQLAB_CALLS=2 * at_once, FAQLAB_TOKENS_PER_MINUTE=100_000) as page:  # a call outlasts its caller
        rows = measure(page, points, at_once)
    if as_json:
        command.print_json(rows)
    else:
        typer.echo(pd.DataFrame(rows).to_string(index=False, na_rep="–"))


def measure(page: Page, points: list[int], at_once: int) -> list[dict[str, Any]]:
    """Return one row of figures for each number of calls in *points*, which ascend from 0."""
    began, exchanges, rows = time.monotonic(), list[Exchange](), []
    questions = cycle(SHORT_FAQ)
    for point in points:
        asked = list(islice(questions, point - len(exchanges)))
        since = place_calls(page, asked, at_once, progress=f"To call {point}", interrupt_greeting=True) if asked else []
        exchanges += since
        time.sleep(SETTLE_S)
        if not (agent := page.agent):
            raise FaqlabError(f"The agent ended during {point} calls:\n{page.output}")
        waits = pd.Series([of.first_audio_s for of in since], dtype=float)
        rows.append(
            {
                "calls": point,
                "right": sum(map(answered_right, exchanges)),
                "answer_p50_s": round(waits.median(), 2),
                "answer_max_s": round(waits.max(), 2),
                **process_figures(agent),
                "minutes": round((time.monotonic() - began) / 60, 1),
            }
        )
    return rows


def process_figures(process: psutil.Process) -> dict[str, int]:
    """Return a process's number, its memory in MiB, and how many files and threads it has."""
    with process.oneshot():
        return {
            "pid": process.pid,
            "memory_mib": round(process.memory_info().rss / 2**20),
            "open_files": process.num_fds(),
            "threads": process.num_threads(),
        }


if __name__ == "__main__":
    command.run(main)
