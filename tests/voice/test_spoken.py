"""Queries said aloud: the noise is as loud as it says, what is heard is what was said, and each loss has its cause."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.retriever import RetrievalConfig, Retriever
from faqlab.voice import spoken

SAID = {"q0": ("Where is my parcel?", "parcel"), "q1": ("How can I pay?", "pay"), "q2": ("Can I return shoes?", "")}
"""The last is labelled out of scope, though the FAQ has it word for word: it is lost by the decision."""


@pytest.fixture(scope="module")
def retriever(short_faq: Path, short_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    cache = tmp_path_factory.mktemp("cache")
    return Retriever.build(FaqSet.load(short_faq), RetrievalConfig.load(short_config), cache_dir=cache)


@pytest.fixture(scope="module")
def queries(retriever: Retriever, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("queries") / "mine.csv"
    path.write_text("id,query,relevant\n" + "".join(f"{i},{said},{faq}\n" for i, (said, faq) in SAID.items()))
    return load_queries(path, retriever.faqs)


def hearing(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"id": list(SAID), "speed": 1.0, "snr_db": np.inf, "heard": texts})


def test_noise_is_as_far_below_the_voice_as_it_says_and_falls_with_frequency() -> None:
    voice = (0.1 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000)).astype(np.float32)
    noise = spoken.with_noise(voice, 10) - voice
    assert 10 * np.log10(np.mean(voice**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.1)
    power = np.abs(np.fft.rfft(noise)) ** 2
    low, high = power[300:600].sum(), power[4800:9600].sum()  # an octave each: pink has as much in both
    assert low / high == pytest.approx(1, rel=0.2)
    assert np.array_equal(spoken.with_noise(voice, np.inf), voice)
    assert not len(spoken.with_noise(voice[:0], 10))


def test_what_is_said_is_heard(queries: pd.DataFrame) -> None:
    heard = spoken.hear(queries, speeds=[1.0], progress=False)
    assert list(heard["id"]) == ["q0", "q0", "q1", "q1", "q2", "q2"]
    quiet = heard[np.isinf(heard["snr_db"])]["heard"].str.lower().tolist()
    assert [word in text for word, text in zip(("parcel", "pay", "shoes"), quiet, strict=True)] == [True] * 3


def test_each_loss_has_its_cause(queries: pd.DataFrame, retriever: Retriever) -> None:
    _, right = spoken.judge(hearing(*(said for said, _ in SAID.values())), queries, retriever)
    assert list(right["lost_at"]) == ["", "", "decision"]
    assert list(right["word_errors"]) == [0, 0, 0]

    _, misheard = spoken.judge(hearing("Can I return shoes?", "...", "Do you sell elephants?"), queries, retriever)
    assert list(misheard["lost_at"]) == ["hearing", "hearing", ""]
    assert list(misheard["word_errors"]) == [4, 4, 4]

    wrong = queries.assign(relevant=[("pay",), ("pay",), ()])
    _, elsewhere = spoken.judge(hearing("Where is my parcel", "How can I pay", "So"), wrong, retriever)
    assert elsewhere["lost_at"][0] == "retrieval"


def test_a_query_without_a_hearing_counts_as_not_understood(queries: pd.DataFrame, retriever: Retriever) -> None:
    _, judged = spoken.judge(hearing(*(said for said, _ in SAID.values()))[:1], queries, retriever)
    assert list(judged["lost_at"]) == ["", "hearing", ""]


def test_the_summary_sets_what_was_heard_against_what_was_typed(queries: pd.DataFrame, retriever: Retriever) -> None:
    heard = pd.concat(
        [hearing(*(said for said, _ in SAID.values())), hearing("Shoes?", "Pay?", "So?").assign(speed=1.25)]
    )
    typed, same, other = spoken.summary(*spoken.judge(heard, queries, retriever)).to_dict("records")
    assert np.isnan(typed["speed"])
    assert typed["hit@1"] == same["hit@1"] == 1
    assert (same["WER"], same["difference"], same["hearing"]) == (0, 0, 0)
    assert same["decision"] == pytest.approx(1 / 3)
    assert other["hit@1"] == 0.5
    assert other["difference"] == -0.5
    assert other["WER"] == pytest.approx((4 + 3 + 4) / 12)
    assert other["hearing"] == pytest.approx(1 / 3)


def test_each_room_has_a_row_for_each_speed(queries: pd.DataFrame, retriever: Retriever) -> None:
    heard = pd.concat(
        [hearing(*(said for said, _ in SAID.values())), hearing("Shoes?", "Pay?", "So?").assign(speed=1.25, snr_db=10)]
    )
    tables = spoken.by_condition(*spoken.judge(heard, queries, retriever))
    assert {room: rows["value"].to_dict() for room, rows in tables.items()} == {
        "typed": {"speed 1": 1, "speed 1.25": 1},
        "quiet room": {"speed 1": 1},
        "noise at 10 dB": {"speed 1.25": 0.5},
    }


def test_bench_spoken_writes_what_was_heard_beside_the_queries(cli, short_faq: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.csv"
    path.write_text("query,relevant\nHow can I pay?,pay\nWhere is my parcel?,parcel\n")
    run = cli("bench", "--spoken", "--faqs", short_faq, "--queries", path)
    assert run.status == 0, run.err
    heard = pd.read_csv(tmp_path / "mine.spoken.csv")
    assert len(heard) == 2 * len(spoken.SPEEDS) * len(spoken.NOISE_DB)
    assert "typed" in run.out
    assert str(tmp_path / "mine.spoken.csv") in run.out
