"""The comparison of the two paths: whole paths, each with vectors of its own, and a difference is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli, WriteFaqs

from faqlab import bench

FIGURES = {
    "queries",
    "queries with the same ranks, all entries",
    "queries with the same top 3",
    "query: times faster",
    "first answer: times faster",
    *(
        f"{figure}, {path}"
        for figure in ("ms a query, p50", "s to the first answer", "peak MiB at the first answer")
        for path in bench.PATHS
    ),
}

OTHER_VECTORS = """
import faqlab.encoder
from faqlab.settings import settings

class Reference(faqlab.encoder.ServingEncoder):
    def __init__(self, name):
        super().__init__(name, settings().cache_dir)

    def encode(self, texts, *, progress=False):
        vectors = super().encode(texts)
        return vectors if len(texts) == 1 else vectors[::-1]

faqlab.encoder.ReferenceEncoder = Reference
"""
"""A reference that gives each entry the vector of another one."""

NO_REFERENCE = """
import faqlab.encoder
from faqlab.errors import FaqlabError

def fail(name):
    raise FaqlabError("It is not here: go without.")

faqlab.encoder.ReferenceEncoder = fail
"""


@pytest.fixture(autouse=True)
def _one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STARTS", 1)


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.csv"
    path.write_text('query,relevant\nwhere on earth is my parcel,0\nmoney,\n"do you ship abroad, and is it dear?",3\n')
    return path


def test_both_paths_rank_alike_and_each_is_measured(cli: Cli, write_faqs: WriteFaqs, queries: Path) -> None:
    run = cli("bench", "--faqs", write_faqs(), "--queries", queries, "--json")
    assert run.status == 0, run.err
    [figures] = run.json.values()  # the configuration is the baseline
    assert set(figures) == FIGURES
    assert figures["queries"] == figures["queries with the same ranks, all entries"] == 3
    assert figures["queries with the same top 3"] == 3
    assert all(value > 0 for value in figures.values())


def at_each_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the processes of the bench run *code* before anything else."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "first"))


def test_other_vectors_of_the_reference_are_seen_and_relative_paths_are_the_users(
    cli: Cli, write_faqs: WriteFaqs, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_each_start(tmp_path, monkeypatch, OTHER_VECTORS)
    write_faqs()
    (tmp_path / "config.json").write_text('{"views": ["question", "answer"]}')
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('a module of the current folder')")
    monkeypatch.chdir(tmp_path)
    run = cli("bench", "--faqs", "mine.json", "--queries", "queries.csv", "--config", "config.json", "--json")
    assert run.status == 0, run.err
    assert list(run.json) == ["baseline", "as configured"]
    for figures in run.json.values():
        assert figures["queries with the same ranks, all entries"] == 0


def test_a_path_that_fails_says_why(
    cli: Cli, write_faqs: WriteFaqs, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_each_start(tmp_path, monkeypatch, NO_REFERENCE)
    run = cli("bench", "--faqs", write_faqs(), "--queries", queries)
    assert run.status == 2
    assert run.err.endswith("faqlab: The reference path could not be measured: It is not here: go without.\n")


@pytest.mark.parametrize("options", [("--number", "3"), ("--split", "tune"), ("--spoken", "--number", "3")])
def test_an_option_of_another_measurement_is_refused_in_a_sentence(cli: Cli, options: tuple[str, ...]) -> None:
    run = cli("bench", *options)
    assert run.status == 2
    assert run.err.startswith(f"faqlab: {options[-2]} goes with ")
