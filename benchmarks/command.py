"""What the benchmarks' command lines share: their options, their inputs and how they print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from faqlab.cli import print_json as print_json
from faqlab.config import RetrievalConfig
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.queries import SPLITS, load_queries
from faqlab.settings import settings

FaqsOption = Annotated[Path | None, typer.Option("--faqs", metavar="PATH", help="The FAQ, a JSON file.")]
QueriesOption = Annotated[Path | None, typer.Option("--queries", metavar="PATH", help="Labelled queries, a CSV file.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="PATH", help="The retrieval configuration, a JSON file.")
]
SplitOption = Annotated[str, typer.Option(help="Which queries, if the file has splits: tune or test.")]
NumberOption = Annotated[int | None, typer.Option("--number", min=1, metavar="N", help="Use only N of the queries.")]
AtOnceOption = Annotated[int, typer.Option("--at-once", min=1, metavar="N", help="Hold N calls at the same time.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run(command: Callable[..., None]) -> None:
    """Run *command* with the options of `sys.argv`; a `FaqlabError` is printed to stderr, with exit status 2."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except FaqlabError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def read_config(path: Path | None) -> RetrievalConfig:
    """
    Return the configuration in *path*; if None, the one that the settings name.

    Raises:
        FaqlabError: The file is missing or can't be used.
    """
    return RetrievalConfig.load(path)


def read_queries(path: Path | None, faqs: FaqSet, split: str, number: int | None) -> pd.DataFrame:
    """
    Return the labelled queries of one split, or *number* of them with the same proportions of kinds.

    Raises:
        FaqlabError: The split is unknown, or the file can't be used.
    """
    if split not in SPLITS:
        raise FaqlabError(f"--split {split}: expected {' or '.join(SPLITS)}.")
    queries = load_queries(path or settings().queries, faqs, split)
    return queries if number is None else choose_queries(queries, number)


def choose_queries(queries: pd.DataFrame, number: int, seed: int = 0) -> pd.DataFrame:
    """Return *number* of the *queries* with the same proportions of kinds, in file order; all if there are fewer."""
    if number >= len(queries):
        return queries
    shares = queries["kind"].value_counts().sort_index() * number
    counts, remainders = shares // len(queries), shares % len(queries)
    counts[remainders.sort_values(ascending=False, kind="stable").index[: number - counts.sum()]] += 1
    chosen = [rows.sample(counts[kind], random_state=seed) for kind, rows in queries.groupby("kind")]
    return pd.concat(chosen).sort_index().reset_index(drop=True)


def progress(line: str) -> None:
    """Print *line* to stderr."""
    typer.echo(line, err=True)
