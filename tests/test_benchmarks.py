"""The benchmarks: what they count, and that each runs on a few queries. The calls themselves are tested in voice/."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import WriteFaqs
from test_scripted_caller import sound

from benchmarks import calls, public, serving, spoken
from benchmarks.command import choose_queries, run
from benchmarks.scripted_caller import Exchange
from faqlab.config import RetrievalConfig
from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.retriever import Retriever
from faqlab.settings import settings

QUESTION = "Can I return shoes that do not fit me?"
LABELS = {"q0": ("Where is my parcel?", "0"), "q1": ("How do I pay?", "1"), "q2": ("Can I return shoes?", "")}
"""The last is labelled out of scope although the FAQ has it: the decision loses it."""


def test_queries_are_chosen_by_kind_in_proportion_and_always_the_same(queries: pd.DataFrame) -> None:
    chosen = choose_queries(queries, 20)
    assert len(chosen) == chosen["id"].nunique() == 20
    expected = queries["kind"].value_counts() * 20 / len(queries)
    assert ((chosen["kind"].value_counts() - expected).abs() < 1).all()
    pd.testing.assert_frame_equal(chosen, choose_queries(queries, 20))
    assert not chosen["id"].equals(choose_queries(queries, 20, seed=1)["id"])
    assert choose_queries(queries, len(queries)) is queries
    assert len(choose_queries(queries, 1)) == 1


OTHER_VECTORS = """
import faqlab.cache, faqlab.encoder
from faqlab.settings import settings

class Reference(faqlab.encoder.ServingEncoder):
    def __init__(self, name):
        weights = faqlab.encoder.find_weights(name)
        files, _ = faqlab.cache.read_files(*faqlab.encoder.serving_cache(weights, settings().cache_dir))
        super().__init__(weights, *files.values())

    def encode(self, texts):
        vectors = super().encode(texts)
        return vectors if len(texts) == 1 else vectors[::-1]

faqlab.encoder.ReferenceEncoder = Reference
"""
"""A reference that gives each entry the vector of another one, and needs no torch."""


def test_a_reference_with_other_vectors_ranks_differently_and_both_paths_are_measured(
    write_faqs: WriteFaqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first/sitecustomize.py").write_text(OTHER_VECTORS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "first"))
    monkeypatch.setattr(serving, "STARTS", 1)
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('a module of the current folder')")
    write_faqs()
    monkeypatch.chdir(tmp_path)
    [figures] = serving.compare(Path("mine.json"), ["where is it", "money"], RetrievalConfig()).values()
    assert figures.pop("queries") == 2
    assert figures.pop("queries with the same ranks, all entries") == 0
    assert figures.pop("queries with the same top 3") == 0
    assert all(value > 0 for name, value in figures.items() if "faster" not in name)


def test_equal_ranks_are_counted_and_times_compared_query_by_query() -> None:
    starts: Any = {path: [SimpleNamespace(start_s=s, peak_mib=300)] for path, s in (("serving", 1), ("reference", 9))}
    ranked = [["a", "b", "c", "d"], ["a", "b", "c", "d"], ["a", "b", "c", "d"]]
    other = [["a", "b", "c", "d"], ["a", "b", "d", "c"], ["a", "b", "c"]]
    replies = {
        "serving": [{"ms": 2.0, "ranked": ids} for ids in ranked],
        "reference": [{"ms": ms, "ranked": ids} for ms, ids in zip((4.0, 6.0, 20.0), other, strict=True)],
    }
    figures = serving._figures(starts, replies)
    assert figures["queries with the same ranks, all entries"] == 1
    assert figures["queries with the same top 3"] == 2
    assert (figures["query: times faster"], figures["first answer: times faster"]) == (3.0, 9.0)


@pytest.fixture
def retriever(write_faqs: WriteFaqs, encoder: Encoder, tmp_path: Path) -> Retriever:
    config = RetrievalConfig(scale=20.0, null_cosine=0.45, decline_below=0.5)
    return Retriever.build(FaqSet.load(write_faqs()), config, encoder=encoder, cache_dir=tmp_path / "index")


@pytest.fixture
def labelled(retriever: Retriever, tmp_path: Path) -> pd.DataFrame:
    path = tmp_path / "mine.csv"
    path.write_text("id,query,relevant\n" + "".join(f"{i},{query},{faq}\n" for i, (query, faq) in LABELS.items()))
    return load_queries(path, retriever.faqs)


def transcripts(*texts: str, speed: float = 1.0, snr_db: float = np.inf) -> pd.DataFrame:
    return pd.DataFrame({"id": list(LABELS)[: len(texts)], "speed": speed, "snr_db": snr_db, "transcript": texts})


FILES = {"faqs": "mine.json", "queries": "mine.csv", "config": "baseline.json"}
TYPED = [query for query, _ in LABELS.values()]


def test_noise_is_as_far_below_the_speech_as_stated_and_pink() -> None:
    speech = (0.1 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000)).astype(np.float32)
    noise = spoken.add_noise(speech, 10) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.1)
    power = np.abs(np.fft.rfft(noise)) ** 2
    assert power[300:600].sum() / power[4800:9600].sum() == pytest.approx(1, rel=0.2)  # an octave each
    assert np.array_equal(spoken.add_noise(speech, np.inf), speech)


def test_each_lost_query_is_lost_at_one_stage(labelled: pd.DataFrame, retriever: Retriever) -> None:
    _, right = spoken.evaluate_transcripts(transcripts(*TYPED), labelled, retriever)
    assert list(right["lost_at"]) == ["", "", "decision"]
    assert list(right["word_errors"]) == [0, 0, 0]
    wrong_words = transcripts("Can I return shoes?", "...", "Do you sell elephants?")
    _, wrong = spoken.evaluate_transcripts(wrong_words, labelled, retriever)
    assert list(wrong["lost_at"]) == ["transcription", "transcription", ""]
    assert list(wrong["word_errors"]) == [4, 4, 4]
    other_labels = labelled.assign(relevant=[("1",), ("1",), ()])
    _, elsewhere = spoken.evaluate_transcripts(transcripts(*TYPED), other_labels, retriever)
    assert elsewhere["lost_at"][0] == "retrieval"
    _, missing = spoken.evaluate_transcripts(transcripts(*TYPED[:1]), labelled, retriever)
    assert list(missing["lost_at"]) == ["", "transcription", ""]


def test_spoken_queries_are_compared_with_typed_ones_by_condition(labelled: pd.DataFrame, retriever: Retriever) -> None:
    both = pd.concat([transcripts(*TYPED), transcripts("Shoes?", "Pay?", "So?", speed=1.25, snr_db=10)])
    results = spoken.evaluate_transcripts(both, labelled, retriever)
    typed, same, other = spoken.summarise(*results).to_dict("records")
    assert np.isnan(typed["speed"])
    assert typed["hit@1"] == same["hit@1"] == 1
    assert (same["WER"], same["difference"], same["transcription"]) == (0, 0, 0)
    assert same["decision"] == other["transcription"] == pytest.approx(1 / 3)
    assert (other["hit@1"], other["difference"], other["WER"]) == (0.5, -0.5, pytest.approx((4 + 3 + 4) / 12))


@pytest.fixture
def benchmark(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Run a benchmark's command line with a new cache; return its exit status."""
    monkeypatch.setenv("FAQLAB_CACHE_DIR", str(cache_dir))
    settings.cache_clear()

    def run_main(module: Any, *arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run(module.main)
        return int(end.value.code or 0)

    yield run_main
    settings.cache_clear()


def test_spoken_queries_are_transcribed_and_kept_beside_the_queries(
    labelled: pd.DataFrame, tmp_path: Path, benchmark: Callable[..., int], capsys: Any
) -> None:
    (tmp_path / "baseline.json").write_text("{}")
    files = [f"--{name}={tmp_path / file}" for name, file in FILES.items()]
    assert benchmark(spoken, *files, "--number", 1) == 0
    assert not (tmp_path / "mine.spoken.csv").exists(), "one transcript must not replace them all"
    assert benchmark(spoken, *files) == 0
    kept = pd.read_csv(tmp_path / "mine.spoken.csv")
    assert len(kept) == len(LABELS) * len(spoken.SPEEDS) * len(spoken.SNR_DB)
    clear = kept.loc[np.isinf(kept["snr_db"]) & (kept["speed"] == 1), "transcript"].str.lower()
    assert [word in text for word, text in zip(("parcel", "pay", "shoes"), clear, strict=True)] == [True] * 3
    assert "spoken, speed 1  no noise" in capsys.readouterr().out


def test_what_the_user_can_fix_is_one_line_and_status_2(
    write_faqs: WriteFaqs, tmp_path: Path, benchmark: Callable[..., int], capsys: Any
) -> None:
    missing = tmp_path / "missing.json"
    assert benchmark(calls, "--faqs", write_faqs(), "--config", missing) == 2
    assert capsys.readouterr().err.startswith(f"{missing}: no such file")
    (tmp_path / "baseline.json").write_text("{}")
    assert benchmark(calls, "--config", tmp_path / "baseline.json", "--split", "dev") == 2
    assert capsys.readouterr().err == "--split dev: expected tune or test.\n"


def exchange(*speaks: tuple[float, float], looked_up: str = QUESTION, cut_in: bool = True) -> Exchange:
    """Of a caller who asks for 4 s and an agent who speaks from and to these seconds."""
    lookups = ({"query": looked_up},)
    return Exchange(QUESTION, lookups=lookups, cut_in=cut_in, audio=sound(*speaks), speech_end_s=4.0)


def test_a_cut_in_counts_as_stopped_and_whole_only_if_it_was() -> None:
    answer, short, long = (4.8, 5.5), (1.0, 1.4), (1.0, 4.1)
    exchanges = [
        exchange(answer, cut_in=False),
        exchange(short, answer),
        exchange(short, answer, looked_up="That do not fit me."),
        exchange(long),
    ]
    figures = calls.pause_figures(exchanges, 1.0)
    assert figures.pop("spoke_p50_s") == pytest.approx(0.4, abs=0.01)
    assert figures == {"pause_s": 1.0, "queries": 4, "cut_in": 3, "stopped": 2, "whole": 1}
    assert calls.pause_figures(exchanges[:1], 0.3)["spoke_p50_s"] is None


def test_a_question_is_whole_if_both_halves_are_in_their_places() -> None:
    for whole in ("can I return shoes that do not fit me", "Can I return shoes that don't fit me?"):
        assert calls.holds_both_halves(QUESTION, whole)
    for part in ("Can I return shoes?", "That do not fit me.", "Me fit not do that shoes return I can.", ""):
        assert not calls.holds_both_halves(QUESTION, part)


def test_response_times_are_those_of_answered_calls_without_a_cut_in() -> None:
    stages = {"transcript_ms": 400.0, "turn_ms": 10.0, "embed_ms": 5.0, "search_ms": 1.0, "voice_ms": 84.0}
    row = {"cut_in": False, **stages}
    rows = [{**row, "first_audio_ms": float(ms)} for ms in range(600, 1601, 50)]
    rows += [{**row, "first_audio_ms": 9e3, "cut_in": True}, {**row, "first_audio_ms": None}]
    rows += [{**row, "first_audio_ms": 9e3, "voice_ms": None}]
    assert calls.response_times(pd.DataFrame(rows)) == {
        "calls": 21,
        "p50_ms": 1100,
        "p95_ms": 1550,
        "parts_p50_ms": {"transcript": 400, "turn": 10, "look-up": 6, "speech": 84, "transport": 600},
    }
    assert calls.response_times(pd.DataFrame(rows[-1:]))["p50_ms"] is None


def call_row(outcome: str | None, *retrieved: str, offered: tuple[str, ...] = (), reply: str = "Yes.") -> dict:
    return {"outcome": outcome, "retrieved": list(retrieved), "offered": list(offered), "reply": reply,
            "first_audio_ms": 600.0 if reply else None}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "lost_at"),
    [
        (call_row("answer", "0"), ""),
        (call_row("clarify", "1", "0", offered=("1", "0")), ""),
        (call_row("answer", "0", reply=""), "speech"),
        (call_row(None), "look-up"),
        (call_row("failed"), "look-up"),
        (call_row("answer", "1"), "transcription"),
        (call_row("decline", "0"), "transcription"),
    ],
)
def test_a_call_is_lost_at_the_first_stage_that_failed(
    row: dict[str, Any], lost_at: str, labelled: pd.DataFrame, retriever: Retriever
) -> None:
    labels = calls.label_calls(pd.DataFrame([row]), labelled[:1], retriever)
    assert (labels["lost_at"][0], labels["right"][0]) == (lost_at, not lost_at)


def test_calls_are_measured_and_reported(
    labelled: pd.DataFrame, retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place_calls(_: Any, queries: list[str], at_once: int = 1, *, progress: str, **options: Any) -> list[Exchange]:
        voices.add(options["voice"])
        stopped = 0.4 if "interrupt" in options else None
        cut_in, reply = options.get("pause") == 0.8, "All" if options.get("interrupt") == "Right." else "All of it."
        return [
            Exchange(query, (query,), reply, ({"query": query, "hits": [], **lookup},), 0.65, cut_in, stopped)
            for query, lookup in ((query, lookups.get(query, {})) for query in queries)
        ]

    lookups = {
        query: {"id": "", "outcome": "answer", "hits": [{"id": faq_id}], "choices": [], "milliseconds": {"voice": 80.0}}
        for query, faq_id in (("Where is my parcel?", "0"), ("How do I pay?", "1"), ("Can I return shoes?", "2"))
    }
    voices: set[str] = set()
    monkeypatch.setattr(calls, "place_calls", place_calls)
    demo: Any = SimpleNamespace(calls=SimpleNamespace(records=()))
    report = calls.measure(demo, retriever, labelled, voice="flite slt")
    assert "Interruptions" not in calls.format_report(report)
    report |= calls.measure_turns(demo, retriever.faqs, labelled, "flite slt")
    assert voices == {"flite slt"}
    assert json.loads(json.dumps(report)) == report
    assert (report["right"], report["lost_at"]) == (2, {"decision": 1})
    assert report["first_right"] == {"answerable": 2, "calls": 2, "typed": 2}
    assert [row["cut_in"] for row in report["pauses"]] == [0, 0, 3]
    assert report["interruptions"] == {"queries": 3, "stopped": 3, "stopped_p50_s": 0.4, "stopped_max_s": 0.4}
    assert report["backchannels"] == {"answers": 10, "went_on": 8}
    assert report["monologue"] == {"seconds": 0, "talked_over": False, "answered": False}
    text = calls.format_report(report)
    assert "a right entry first            2 of 2 (typed: 2)" in text
    assert "p50 650 ms, p95 650 ms" in text


def test_a_voice_that_is_not_installed_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.voices.shutil.which", lambda program: None)
    for voice in ("flite slt", "nobody"):
        with pytest.raises(FaqlabError, match=f"--voice {voice}: expected hibari "):
            calls.main(voice=voice)


PUBLIC = {
    "HINT3/dataset/v2/train/curekart_train.csv": """sentence,label,
        Where is my parcel?,TRACKING,
        What do you sell?,GOODS,
        "Has it left yet, my order?",TRACKING,
        Is it raining over there?,GOODS,""",
    "HINT3/dataset/v2/test/curekart_test.csv": """sentence,label
        when will my order leave,TRACKING
        is there rain,GOODS
        when will my order leave,TRACKING
        hiya,NO_NODES_DETECTED""",
    "BERT-FAQ/data/CovidFAQ/query_answer_pairs.json": """[
        {"query_type": "faq", "question": "Do masks help? ", "answer": "Yes."},
        {"query_type": "faq", "question": "Is soap enough?", "answer": "Yes. "},
        {"query_type": "faq", "question": "Can my dog catch it?", "answer": "No."},
        {"query_type": "user_query", "question": "wear a mask?", "answer": "Yes."},
        {"query_type": "user_query", "question": "and pets", "answer": "No."},
        {"query_type": "user_query", "question": "wear a mask? ", "answer": "No."}]""",
    "BERT-FAQ/data/StackFAQ/stackExchange-FAQ.xml": """<root>
        <qapair><rephr>
        Making words &lt;b&gt;
        </rephr><rephr>
        *
        </rephr><rephr/><question>
        Bold type
        </question><answer> With stars. </answer><answer>With tags.</answer></qapair>
        <qapair><rephr>leave the forum</rephr><question>Delete me</question><answer>Ask us.</answer></qapair></root>""",
    "Few/Datasets/BANKING77-OOS/train/seq.in": "is my card on its way?\ntop up by cash\nwhere is the card?\n\n",
    "Few/Datasets/BANKING77-OOS/train/label": "arrival\ntop_up\narrival\ntop_up\n",
    "Few/Datasets/BANKING77-OOS/test/seq.in": "no card yet\n",
    "Few/Datasets/BANKING77-OOS/test/label": "arrival\n",
    "Few/Datasets/BANKING77-OOS/id-oos/test/seq.in": "\nchange my pin\n",
    "Few/Datasets/BANKING77-OOS/ood-oos/test/seq.in": "sing a song\n",
}
"""Our own words in the formats of the public sets."""


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    for name, text in PUBLIC.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("\n        ", "\n"), encoding="utf-8")
    return tmp_path


def read_public(folder: Path) -> dict[str, tuple[list[tuple[str, ...]], list[tuple[str, tuple[str, ...]]]]]:
    """Return the entries' texts, and the queries with their labels, by set."""
    return {
        name: (
            [(faq.id, faq.question, faq.answer, *faq.alternatives) for faq in faqs],
            [(text, tuple(sorted(ids))) for text, ids in queries[["query", "relevant"]].to_numpy()],
        )
        for name, (faqs, queries) in public.read_clone(folder).items()
    }


def test_public_sets_are_read_with_their_labels_and_without_what_is_no_question(clones: Path) -> None:
    parcel, goods = "Where is my parcel?", "What do you sell?"
    leaves = ("when will my order leave", ("TRACKING",))
    assert read_public(clones / "HINT3") == {
        "curekart": (
            [
                ("TRACKING", parcel, parcel, "Has it left yet, my order?"),
                ("GOODS", goods, goods, "Is it raining over there?"),
            ],
            [leaves, ("is there rain", ("GOODS",)), leaves, ("hiya", ())],
        )
    }
    assert read_public(clones / "BERT-FAQ") == {
        "CovidFAQ": (
            [("0", "Do masks help?", "Yes."), ("1", "Is soap enough?", "Yes."), ("2", "Can my dog catch it?", "No.")],
            [("wear a mask?", ("0", "1", "2")), ("and pets", ("2",))],
        ),
        "StackFAQ": (
            [("0", "Bold type", "With stars."), ("1", "Delete me", "Ask us.")],
            [("Making words <b>", ("0",)), ("leave the forum", ("1",))],
        ),
    }
    card, cash = "is my card on its way?", "top up by cash"
    assert read_public(clones / "Few") == {
        "BANKING77-OOS": (
            [("arrival", card, card, "where is the card?"), ("top_up", cash, cash)],
            [("no card yet", ("arrival",)), ("change my pin", ()), ("sing a song", ())],
        )
    }


def test_at_most_a_tenth_of_out_of_scope_is_answered_where_right_answers_are_counted() -> None:
    right = np.array([0.95, 0.9, 0.8, -np.inf])
    assert public.right_at_10(right, np.array([*np.linspace(0, 0.7, 9), 0.99])) == 0.75
    assert public.right_at_10(right, np.array([*np.linspace(0, 0.7, 8), 0.9, 0.99])) == 0.25
    assert public.right_at_10(right, np.array([0.9] * 10)) == 0.25
    assert public.right_at_10(right, np.array([0.9] * 9)) == 0.25
    assert np.isnan(public.right_at_10(right, np.array([])))


def test_p_values_are_corrected_for_their_number_only() -> None:
    assert list(public.holm(pd.Series([0.03, 0.01, 0.04]))) == pytest.approx([0.06, 0.03, 0.06])
    assert list(public.holm(pd.Series([0.6, np.nan, 0.6])))[::2] == [1, 1]


def test_public_sets_are_measured_with_and_without_alternatives(
    clones: Path, benchmark: Callable[..., int], capsys: Any
) -> None:
    config, table = clones / "phrasings.json", clones / "table.csv"
    config.write_text('{"views": ["phrasings", "answer"], "scale": 20.0, "decline_below": 0.5}')
    assert benchmark(public, clones / "HINT3", clones / "Few", "--config", config, "-o", table) == 0
    text = capsys.readouterr().out
    assert "curekart" in text and "1.000 [1.00, 1.00]" in text
    rows = pd.read_csv(table).set_index(["set", "system"])
    assert list(rows.loc["curekart"].index) == [
        *("BM25", "baseline", "views", "encoder", "both encoders", "tuned"),
        *("baseline, question only", "tuned, question only", "best platform of 2020"),
    ]
    hits = rows.loc["curekart", "hit@1"]
    assert hits["baseline"] == hits["tuned"] == 1
    assert hits["baseline, question only"] == hits["tuned, question only"] == pytest.approx(2 / 3, abs=1e-4)
    differences = rows.loc["curekart", "difference"]
    assert differences["baseline, question only"] == pytest.approx(-1 / 3, abs=1e-4)
    assert differences["tuned"] == differences["tuned, question only"] == 0
    assert np.isnan(differences["baseline"])
    assert rows.loc[("curekart", "best platform of 2020"), "right_at_10"] == public.PLATFORMS["curekart"]
    assert benchmark(public, clones / "Few", "--json", "--config", config) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["hit@1"] for row in printed if row["system"] == "tuned"] == [1]


def test_only_phrasings_are_embedded_where_entries_have_no_answers(clones: Path, encoder: Encoder) -> None:
    [(faqs, queries)] = public.read_clone(clones / "HINT3").values()
    config = RetrievalConfig(views=("phrasings", "answer"))
    without = public.evaluate_systems(faqs, queries, config, {config.encoder: encoder})
    assert without["views"]["confidence"].equals(without["baseline"]["confidence"])
    answered = FaqSet(tuple(replace(faq, answer="Yes.") for faq in faqs))
    results = public.evaluate_systems(answered, queries, config, {config.encoder: encoder})
    assert not results["views"]["confidence"].equals(without["baseline"]["confidence"])


def test_a_folder_without_a_public_set_gets_a_sentence(
    clones: Path, benchmark: Callable[..., int], capsys: Any
) -> None:
    assert benchmark(public) == 2
    assert capsys.readouterr().err.startswith("Nothing to measure: name the folders of clones")
    assert benchmark(public, clones / "HINT3", clones) == 2
    assert capsys.readouterr().err == f"{clones}: no clone with a public set; {public.CLONE}.\n"
    (clones / "HINT3/dataset/v2/test/curekart_test.csv").unlink()
    assert benchmark(public, clones / "HINT3") == 2
    assert "curekart_test.csv: no such file; clone the whole repository" in capsys.readouterr().err


def test_the_projects_own_sets_are_measured_on_queries_that_were_not_trained_on() -> None:
    sets = public.read_written()
    parts = {name.split()[-1] for name in sets}
    assert parts == {"(test)", "(validation)", "(final)"}
    assert set(sets["shop (test)"][1]["split"]) == {"test"}
