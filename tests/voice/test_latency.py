"""Calls measured at the caller: which queries, what counts as a cut-in, which waits; and a run of real calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.settings import PROJECT_ROOT
from faqlab.voice import latency
from faqlab.voice.caller import Heard, silent_at
from faqlab.voice.demo import LiveDemo
from faqlab.voice.line import RATE

QUESTION = "Can I return shoes that do not fit me?"


def sound(*stretches: tuple[float, float], seconds: float = 8.0) -> np.ndarray:
    """A tone from and to each of these seconds."""
    audio = np.zeros(int(seconds * RATE), np.int16)
    for start, end in stretches:
        moments = np.arange(int(start * RATE), int(end * RATE))
        audio[moments] = 8000 * np.sin(2 * np.pi * 300 * moments / RATE)
    return audio


def heard(audio: np.ndarray, looked_up: str, *, cut_in: bool = True) -> Heard:
    """Of a caller who spoke for 4 s."""
    return Heard(QUESTION, "", "", "", ({"query": looked_up},), 1.0, cut_in, None, audio, spoke_until_s=4.0)


def test_queries_are_chosen_by_kind_in_proportion_and_always_the_same() -> None:
    data = PROJECT_ROOT / "data"
    queries = load_queries(data / "queries.csv", FaqSet.load(data / "ecommerce.json"), "test")
    chosen = latency.choose(queries, 20)
    assert len(chosen) == chosen["id"].nunique() == 20
    due = queries["kind"].value_counts() * 20 / len(queries)
    assert ((chosen["kind"].value_counts() - due).abs() < 1).all()
    pd.testing.assert_frame_equal(chosen, latency.choose(queries, 20))
    assert not chosen["id"].equals(latency.choose(queries, 20, seed=1)["id"])
    assert chosen["id"].is_monotonic_increasing
    assert latency.choose(queries, 1000) is queries
    assert len(latency.choose(queries, 1)) == 1


def test_utterances_are_parted_by_silences_not_by_short_gaps() -> None:
    assert latency.utterances(sound((1.0, 1.5), (1.6, 2.0), (3.0, 3.2))) == [(1.0, 2.0), (3.0, 3.2)]
    assert latency.utterances(sound()) == latency.utterances(np.zeros(0, np.int16)) == []


@pytest.mark.parametrize("its_own", [0.0, 0.1, 0.9])
def test_a_pause_is_as_long_as_it_was_asked_for_whatever_silence_the_voice_had_there(its_own: float) -> None:
    voice = sound((1.0, 2.0), (2.0 + its_own, 3.0)).astype(np.float32) / 32768
    paused = silent_at(voice, int((2.0 + its_own / 2) * RATE), 0.5)
    audible = np.flatnonzero(np.abs(paused) > 0.01)
    assert np.diff(audible).max() / RATE == pytest.approx(0.5, abs=0.005)
    assert (len(paused) - len(voice)) / RATE == pytest.approx(0.5 - its_own, abs=0.005)


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ("can I return shoes that do not fit me", True),
        ("Can I return shoes that don't fit me?", True),
        ("Can I return shoes?", False),
        ("That do not fit me.", False),
        ("", False),
        ("Me fit not do that shoes return I can.", False),
    ],
)
def test_both_halves_of_a_question_must_be_heard_in_their_places(words: str, whole: bool) -> None:
    assert latency.holds_both_halves(QUESTION, words) == whole


def test_of_the_cut_ins_those_are_counted_that_yielded_and_were_heard_whole() -> None:
    answer, short, long = (4.8, 5.5), (1.0, 1.4), (1.0, 4.1)
    exchanges = [
        heard(sound(answer), QUESTION, cut_in=False),
        heard(sound(short, answer), QUESTION),
        heard(sound(short, answer), "That do not fit me."),
        heard(sound(long), QUESTION),
    ]
    counted = latency.cut_ins(exchanges, 1.0)
    assert counted.pop("spoke_p50_s") == pytest.approx(0.4, abs=0.01)
    assert counted == {"pause_s": 1.0, "queries": 4, "cut_in": 3, "yielded": 2, "halves_as_one": 1}
    assert latency.cut_ins(exchanges[:1], 0.3)["spoke_p50_s"] is None


def test_waits_are_of_answered_calls_without_a_cut_in_and_their_parts_leave_the_way() -> None:
    stages = {"transcript_ms": 400.0, "turn_ms": 10.0, "embed_ms": 5.0, "search_ms": 1.0, "voice_ms": 84.0}
    call = {"cut_in": False, **stages}
    rows = [{**call, "first_sound_ms": float(ms)} for ms in range(600, 1601, 50)]
    rows += [{**call, "first_sound_ms": 9e3, "cut_in": True}, {**call, "first_sound_ms": None}]
    rows += [{**call, "first_sound_ms": 9e3, "voice_ms": None}]
    assert latency.waits(pd.DataFrame(rows)) == {
        "calls": 21,
        "p50_ms": 1100,
        "p95_ms": 1550,
        "parts_p50_ms": {"transcript": 400, "turn": 10, "look-up": 6, "voice": 84, "transport": 600},
    }
    nothing = latency.waits(pd.DataFrame(rows[-1:]))
    assert (nothing["calls"], nothing["p50_ms"], nothing["parts_p50_ms"]["voice"]) == (0, None, None)


def test_queries_asked_in_calls_are_measured(demo: LiveDemo, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("query,relevant\nCan I return shoes that do not fit me?,shoes\nWhere's my parcel?,parcel\n")
    queries = load_queries(path, demo.retriever.faqs)
    report = latency.measure(demo, queries, pauses=[2.5], progress=False)
    assert report["queries"] == 2
    assert report["word_error_rate"] < 0.5
    assert report["right_first"] == {"answerable": 2, "asked_aloud": 2, "typed": 2}
    assert report["waits"]["calls"] == 2
    assert report["waits"]["p50_ms"] > 0
    assert all(ms is not None for ms in report["waits"]["parts_p50_ms"].values())
    without, paused = report["pauses"]
    assert (without["pause_s"], without["queries"], without["cut_in"]) == (0.0, 2, 0)
    # Nobody waits for 2.5 s: it answers what it has heard, and lets the caller go on.
    assert (paused["pause_s"], paused["queries"], paused["cut_in"], paused["yielded"]) == (2.5, 1, 1, 1)
    assert "right answer first               2 of 2 (typed: 2)" in latency.table(report)


def test_bench_calls_starts_a_demo_of_its_own_without_a_key(
    cli,
    short_faq: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr(latency, "PAUSES_S", ())
    for name in ("GOOGLE_API_KEY", "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "ws://nowhere.invalid")
    monkeypatch.setenv("FAQLAB_RECORDS", str(tmp_path / "records"))
    path = tmp_path / "mine.csv"
    path.write_text("query,relevant\nHow can I pay?,pay\nWhere is my parcel?,parcel\n")
    run = cli("bench", "--calls", "--number", 1, "--faqs", short_faq, "--queries", path, "--json")
    assert run.status == 0, run.err
    assert run.json["queries"] == run.json["right_first"]["asked_aloud"] == 1
    assert "the offline voice" in run.err
    assert not (tmp_path / "records").exists()


def test_bench_calls_says_what_it_cannot_use(cli, short_faq: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.csv"
    path.write_text("query,relevant,split\nHow can I pay?,pay,tune\n")
    run = cli("bench", "--calls", "--faqs", short_faq, "--queries", path)
    assert (run.status, run.err) == (2, f"faqlab: {path}: no queries in the split 'test': add some.\n")
    run = cli("bench", "--calls", "--spoken")
    assert (run.status, run.err) == (2, "faqlab: --spoken and --calls are two measurements: name one of them.\n")
