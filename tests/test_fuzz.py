"""No input ends in an exception that a user would see: `benchmarks.fuzz` with fewer inputs, the same at each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks import fuzz
from faqlab.errors import FaqlabError

NUMBERS = {
    "FAQ files": 1000,
    "query files": 1500,
    "configurations": 2000,
    "adapters": 1500,
    "caches": 1000,
    "settings": 500,
    "questions": 1000,
    "tokens": 3000,
    "requests": 1500,
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzz.Program]:
    with ExitStack() as running:
        yield fuzz.Program(tmp_path_factory.mktemp("fuzz"), running)


@pytest.mark.parametrize("name", NUMBERS)
def test_bad_input_is_refused_in_a_sentence_and_never_ends_in_an_exception(
    name: str, program: fuzz.Program, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = fuzz.fuzz(program.kinds()[name], NUMBERS[name], stop=True)
    with capsys.disabled():
        print(f"\n{name}: {tally.tried} tried, {tally.refused} refused", end=" ")
    assert 0 < tally.refused < tally.tried == NUMBERS[name]


def test_all_kinds_are_tried(program: fuzz.Program) -> None:
    assert program.kinds().keys() == NUMBERS.keys()


def test_the_table_counts_what_is_tried_and_the_exceptions_that_users_would_see(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("broken on purpose")

    monkeypatch.setattr(fuzz, "load_queries", fail)
    fuzz.main(number=20, only="query files")
    captured = capsys.readouterr()
    assert captured.out.split()[-6:-1] == ["query", "files", "20", "0", "20"]
    assert "broken on purpose" in captured.err
    with pytest.raises(FaqlabError, match="no such kind"):
        fuzz.main(only="frogs")


@pytest.mark.parametrize("message", ["no full stop", "two\nlines.", f"{'x' * 300}.", f"{fuzz.inputs.CANARY}."])
def test_what_a_user_reads_has_to_be_one_short_sentence_without_a_secret(message: str) -> None:
    with pytest.raises(AssertionError):
        fuzz._check_sentence(message)
