"""The command line: what it prints for people and programs, and a sentence for every mistake."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
from conftest import DATA, MODEL_FOLDER, SMALL, Cli, WriteFaqs, assert_one_sentence
from sklearn.metrics import roc_auc_score

import faqlab
from faqlab.cli import _serve
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT

SHOP = ("--faqs", DATA / "ecommerce.json", "--queries", DATA / "queries.csv")
RANKING = ("hit@1", "hit@3", "mrr", "ndcg@10", "recall@3")
RATES = ("two_turn_success", "answer_rate", "false_answer_rate", "auroc")
LABELS = """query,relevant,kind
shoes that do not fit,2,paraphrase
paying by credit card,1,keyword
"parcel, where",0,keyword
who won the cup,,far_out_of_scope
"""


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    path = tmp_path / "tuned.json"
    path.write_text('{"scale": 20, "scope_scale": 20, "null_cosine": 0.4, "decline_below": 0.5, "answer_from": 0.3}')
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(LABELS)
    return path


def test_ask_prints_one_object_for_programs(cli: Cli, write_faqs: WriteFaqs, tuned: Path) -> None:
    run = cli("ask", "can I send shoes back?", "--faqs", write_faqs(), "--top-k", 2, "--config", tuned, "--json")
    assert (run.status, run.err) == (0, "")
    fields = ("query", "outcome", "reason", "answered", "confidence", "choices", "hits", "milliseconds")
    assert tuple(run.json) == fields
    assert [run.json[field] for field in fields[:4]] == ["can I send shoes back?", "answer", "confident", True]
    assert [tuple(hit) for hit in run.json["hits"]] == [("rank", "id", "question", "answer", "squared_l2", "score")] * 2
    first = run.json["hits"][0]
    assert (first["rank"], first["id"], first["question"], first["answer"]) == (1, "2", *SMALL[2])
    assert 0.3 < first["score"] <= run.json["confidence"] <= 1
    assert set(run.json["milliseconds"]) == {"embed", "search"}


@pytest.mark.parametrize(
    ("query", "config", "outcome", "reason", "said"),
    [
        ("How do I pay?", "{}", "answer", "uncalibrated", "By card."),
        ("How do I pay?", '{"scale": 20}', "answer", "confident", "By card."),
        (
            "send my shoes abroad",
            '{"scale": 20, "scope_scale": 20, "null_cosine": 0, "answer_from": 1}',
            "clarify",
            "ambiguous",
            "Which one do you mean?",
        ),
        (
            "who won the cup?",
            '{"scale": 20, "scope_scale": 20, "null_cosine": 0.85, "decline_below": 0.5}',
            "decline",
            "below_threshold",
            "Sorry,",
        ),
        ("📦❓", '{"scale": 20, "scope_scale": 20, "null_cosine": 0}', "decline", "no_words", "Sorry,"),
    ],
)
def test_ask_prints_what_the_assistant_says_and_the_best_entries(
    query: str, config: str, outcome: str, reason: str, said: str, cli: Cli, write_faqs: WriteFaqs, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(config)
    arguments = ("ask", query, "--faqs", write_faqs(), "--config", tmp_path / "config.json")
    report = cli(*arguments, "--json").json
    assert (report["outcome"], report["reason"], report["answered"]) == (outcome, reason, outcome == "answer")
    assert report["choices"] == [hit["question"] for hit in report["hits"]][: len(report["choices"])]
    assert len(report["hits"]) == 3
    lines = cli(*arguments).out.splitlines()
    assert lines[0].startswith(said)
    assert lines[2] == f"Outcome: {outcome} ({reason.replace('_', ' ')}). Best entries:"
    score = "cosine" if config == "{}" else "probability"
    assert lines[3].startswith(
        f"1. {report['hits'][0]['question']}   ({score} {report['hits'][0]['score']:.2f}, squared L2 "
    )
    assert len(lines) == 6


@pytest.mark.parametrize(
    "config", ['{"scale": 20, "scope_scale": 20, "null_cosine": 0.4, "decline_below": 0.5, "answer_from": 0.9}', "{}"]
)
def test_ask_and_chat_both_say_how_to_reach_a_person(
    config: str, cli: Cli, write_faqs: WriteFaqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(config)
    faqs = write_faqs([*SMALL, ("How do I get in touch?", "Call us.")])
    options = ("--faqs", faqs, "--config", tmp_path / "config.json")
    for text in ("can I talk to a human", "I'd like to speak to somebody"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
        assert cli("ask", text, *options).out.splitlines()[0] == "Call us."
        assert cli("chat", *options).out.splitlines()[-1] == "Call us."


@pytest.mark.parametrize("query", ["我的包裹在哪里？", "my\x07 parcel\x1b", "parcel " * 10_000, "f\udcfcr"])
def test_an_odd_query_is_answered_like_any_other(cli: Cli, write_faqs: WriteFaqs, query: str) -> None:
    run = cli("ask", query, "--faqs", write_faqs(), "--json")
    assert (run.status, run.err, len(run.json["hits"])) == (0, "", 3)


def test_the_users_mistakes_are_one_sentence_each(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faqs, bad = write_faqs(), tmp_path / "bad.json"
    bad.write_text('{"top_n": 3}')
    ask, evaluate = ("ask", "my parcel", "--faqs"), ("evaluate", "--faqs", faqs, "--queries")
    assert_one_sentence(cli("ask", " \x01", "--faqs", faqs), "The query is empty")
    assert_one_sentence(cli(*ask, faqs, "--top-k", 0), "top_k: input should be greater than or equal to 1")
    assert_one_sentence(cli(*ask, faqs, "--config", bad), bad, "top_n: extra inputs are not permitted")
    assert_one_sentence(cli(*ask, faqs, "--config", tmp_path / "none.json"), "none.json: no such file; fix it, or name")
    assert_one_sentence(cli("serve", "--config", tmp_path / "none.json"), "none.json: no such file; fix it, or name")
    assert_one_sentence(cli(*ask, tmp_path / "none.json"), "none.json: no such file; name your FAQ with --faqs or")
    assert_one_sentence(cli(*ask, bad), bad, "no questions and answers found; expected {")
    assert_one_sentence(cli(*evaluate, bad), bad, "unknown column")
    assert_one_sentence(
        cli(*evaluate, labels, "--per-query", tmp_path), "can't be written (Is a directory); name another"
    )
    assert_one_sentence(cli("agent"), "LIVEKIT_URL isn't set; set it, LIVEKIT_API_KEY and LIVEKIT_API_SECRET")
    assert_one_sentence(cli("tokens"), "LIVEKIT_URL isn't set")
    monkeypatch.setenv("FAQLAB_PORT", "0")
    assert_one_sentence(cli(*ask, faqs), "FAQLAB_PORT in the environment or .env: input should be greater than")


def test_an_unknown_option_or_value_ends_in_usage(cli: Cli) -> None:
    for arguments in (
        ["ask", "x", "--top-k", "three"],
        ["ask"],
        ["ask", "x", "--what"],
        ["evaluate", "--split", "train"],
    ):
        run = cli(*arguments)
        assert run.status == 2
        assert "Usage: " in run.err and "Traceback" not in run.err


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    assert cli("--version").out == f"faqlab {faqlab.__version__}\n"


@pytest.mark.parametrize("options", [(), ("--fresh",)])
def test_chat_prints_one_reply_for_each_line(
    options: tuple[str, ...], cli: Cli, write_faqs: WriteFaqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unsure.json").write_text('{"scale": 20, "scope_scale": 20, "null_cosine": 0, "answer_from": 1}')
    text = "send my shoes abroad\nthe second one\n\nthank you\ngoodbye\nmy parcel, \udcff please"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    run = cli("chat", "--faqs", write_faqs(), "--config", tmp_path / "unsure.json", "--json", *options)
    assert run.status == 0
    first, second, *small_talk, last = (json.loads(line) for line in run.out.splitlines())
    assert {tuple(reply) for reply in (first, *small_talk)} == {("said", "outcome", "reason", "hits", "choices")}
    assert (first["outcome"], first["reason"]) == ("clarify", "ambiguous")
    assert first["choices"] == [hit["question"] for hit in first["hits"]][: len(first["choices"])]
    if not options:
        assert (second["outcome"], second["reason"]) == ("answer", "chosen")
        assert second["said"] == second["hits"][0]["answer"] == first["hits"][1]["answer"]
    else:
        assert second["reason"] != "chosen"
    assert len(small_talk) == 3
    for reply in small_talk:
        assert reply["said"]
        assert (reply["outcome"], reply["reason"], reply["hits"], reply["choices"]) == (None, None, [], [])
    assert last["hits"]
    monkeypatch.setattr("sys.stdin", io.StringIO("How do I pay?\n"))
    greeting, answer = cli("chat", "--faqs", write_faqs(), *options).out.splitlines()
    assert greeting.startswith("Hello!") and answer == "By card."


def test_evaluate_prints_one_object_and_a_row_per_query_from_which_it_follows(
    cli: Cli, tuned: Path, tmp_path: Path
) -> None:
    options = ("--split", "tune", "--config", tuned, "--top-k", 5, "--per-query", tmp_path / "rows.csv", "--json")
    report = cli("evaluate", *SHOP, *options).json
    for name in (*RANKING, *RATES, "hit@5"):
        assert 0 <= report[name]["low"] <= report[name]["value"] <= report[name]["high"] <= 1
    assert sum(kind["queries"] for kind in report["by_kind"].values()) == report["queries"]
    assert report["by_kind"]["near_out_of_scope"]["hit@1"] is None
    assert set(report["by_kind"]["typo"]) >= {"queries", "hit@1", "hit@3", "mrr", "answered"}

    rows = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False)
    assert set(rows) >= {"id", "ranked", "squared_l2", "confidence", "answered", "outcome", "reason", "first"}
    labels = pd.read_csv(DATA / "queries.csv", dtype=str, keep_default_na=False)
    same = ["id", "query", "relevant", "kind"]
    pd.testing.assert_frame_equal(rows[same], labels.loc[labels["split"] == "tune", same].reset_index(drop=True))
    assert report["queries"] == len(rows)

    inside, answered, outcome = rows["relevant"] != "", rows["answered"], rows["outcome"]
    ranks = pd.Series(
        [
            next((rank for rank, faq_id in enumerate(ranked.split(), 1) if faq_id in relevant.split()), 99)
            for ranked, relevant in zip(rows["ranked"], rows["relevant"], strict=True)
        ]
    )
    expected = {f"hit@{k}": (ranks[inside] <= k).mean() for k in (1, 3, 5)} | {
        "answer_rate": answered[inside].mean(),
        "false_answer_rate": answered[~inside].mean(),
        "auroc": roc_auc_score(inside, rows["confidence"]),
    }
    assert {name: report[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-4)
    assert answered.equals(outcome == "answer") and (outcome == "decline").equals(rows["confidence"] < 0.5)
    for scope, chosen in (("answerable", outcome[inside]), ("out_of_scope", outcome[~inside])):
        assert report["outcomes"][scope] == pytest.approx(chosen.value_counts(normalize=True).to_dict(), abs=1e-4)


def test_evaluate_uses_the_test_split_by_default_and_a_file_without_splits_whole(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, tmp_path: Path
) -> None:
    report = cli("evaluate", *SHOP, "--per-query", tmp_path / "rows.csv", "--json").json
    queries = pd.read_csv(DATA / "queries.csv").set_index("id")
    assert report["split"] == "test"
    assert pd.read_csv(tmp_path / "rows.csv")["id"].tolist() == queries.index[queries["split"] == "test"].tolist()
    report = cli("evaluate", "--faqs", write_faqs(), "--queries", labels, "--split", "tune", "--json").json
    assert (report["split"], report["queries"], report["hit@1"]["value"]) == (None, 4, 1)


def test_what_no_query_can_measure_is_null(cli: Cli, write_faqs: WriteFaqs, labels: Path) -> None:
    nothing = {"value": None, "low": None, "high": None}
    for row, unmeasured in (("my parcel,0", ("false_answer_rate", "auroc")), ("the cup,", (*RANKING, "answer_rate"))):
        labels.write_text(f"query,relevant\n{row}\n")
        report = cli("evaluate", "--faqs", write_faqs(), "--queries", labels, "--json").json
        assert [report[name] for name in unmeasured] == [nothing] * len(unmeasured)


def test_evaluate_prints_tables_and_says_when_they_are_optimistic(
    cli: Cli, write_faqs: WriteFaqs, labels: Path
) -> None:
    out = cli("evaluate", "--faqs", write_faqs(), "--queries", labels).out
    assert out.startswith(f"4 queries from {labels}, 4 entries from ")
    for word in (
        *RANKING,
        *RATES,
        "low",
        "high",
        "clarify",
        "keyword",
        "1.000",
        "optimistic",
    ):
        assert word in out
    assert "nan" not in out.lower()
    assert "optimistic" not in cli("evaluate", *SHOP).out


def test_each_faq_has_its_cache_and_a_changed_one_is_answered_from_its_new_text(
    cli: Cli, write_faqs: WriteFaqs, cache_dir: Path
) -> None:
    cli("ask", "my parcel", "--faqs", DATA / "ecommerce.json")
    before = {path: path.read_bytes() for path in cache_dir.glob("ecommerce-*/*")}
    run = cli("ask", "do you deliver to other countries", "--faqs", write_faqs(), "--json")
    assert [run.json["hits"][0][key] for key in ("id", "question")] == ["3", SMALL[3][0]]
    path = write_faqs([*SMALL[1:], ("Where has my parcel got to?", "It is here.")])
    assert cli("ask", "my parcel", "--faqs", path, "--json").json["hits"][0]["answer"] == "It is here."
    assert {path: path.read_bytes() for path in cache_dir.glob("ecommerce-*/*")} == before


class Server:
    def __init__(self, ends: signal.Signals | str) -> None:
        self.ends, self.stopped = ends, 0

    def start(self) -> None:
        """Nothing has to be started."""

    @property
    def problem(self) -> str | None:
        return self.ends if type(self.ends) is str else signal.raise_signal(self.ends)  # type: ignore[func-returns-value]

    def stop(self) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        self.stopped += 1


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, "It is gone."])
def test_a_server_is_stopped_once_and_a_second_signal_does_not_interrupt_that(ends: signal.Signals | str) -> None:
    server, announced = Server(ends), list[str]()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(FaqlabError, match=ends) if type(ends) is str else nullcontext():
            _serve(server, lambda: announced.append("ready"))  # type: ignore[arg-type]
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert (announced, server.stopped) == (["ready"], 1)


def test_a_real_process_takes_bytes_that_are_not_utf_8_and_survives_a_reader_that_goes_away(
    write_faqs: WriteFaqs, tmp_path: Path
) -> None:
    faqs = write_faqs([(f"What is rule {n}? 📦", "A long answer. " * 200) for n in range(50)])
    environment = {
        **os.environ,
        "FAQLAB_CACHE_DIR": str(MODEL_FOLDER.parent),
        "FAQLAB_RETRIEVAL": str(tmp_path / "none"),
    }
    arguments = (sys.executable, "-m", "faqlab", "ask", b"f\xfcr shoes", "--top-k", "50", "--json", "--faqs", faqs)
    process = subprocess.run(
        arguments, env=environment | {"PYTHONIOENCODING": "latin-1"}, cwd=PROJECT_ROOT, capture_output=True
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert (report["query"], len(report["hits"])) == ("f?r shoes", 50)
    assert process.stderr.count(b"\n") == 1 and b"none: no such file, so retrieval.json is used" in process.stderr
    closed, writing = os.pipe()
    os.close(closed)
    process = subprocess.run(arguments, env=environment, cwd=PROJECT_ROOT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert process.returncode == 1
    assert b"Traceback" not in process.stderr


@pytest.fixture
def other_faq(tmp_path: Path, labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the configuration be tuned with one small FAQ beside one's own."""
    folder = tmp_path / "others"
    folder.mkdir()
    entries = [{"question": question, "answer": answer} for question, answer in SMALL]
    (folder / "other.json").write_text(json.dumps({"questions": entries}))
    (folder / "other.csv").write_text(labels.read_text())
    monkeypatch.setattr("faqlab.calibration.OTHERS", folder)


def test_tune_writes_a_configuration_that_decides_and_reports_its_results(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, other_faq: None, tmp_path: Path
) -> None:
    written = tmp_path / "mine_retrieval.json"
    run = cli("tune", "--faqs", write_faqs(), "--queries", labels, "-o", written)
    config = json.loads(written.read_text())
    assert config["scale"] and 0 < config["answer_from"] <= 1
    assert "answered wrong" in run.out and "before" in run.out and "after" in run.out
    assert str(written) in run.out
    assert "With fewer than 50 queries, the numbers come almost only from the other FAQs" in run.out
    answer = cli("ask", "Where is my parcel?", "--faqs", write_faqs(), "--config", written, "--json").json
    assert answer["reason"] != "uncalibrated"


def test_tune_refuses_a_folder_before_it_begins(cli: Cli, write_faqs: WriteFaqs, labels: Path, tmp_path: Path) -> None:
    run = cli("tune", "--faqs", write_faqs(), "--queries", labels, "-o", tmp_path)
    assert_one_sentence(run, tmp_path, "name a file with -o")


def test_evaluate_shows_what_the_alternatives_bring(cli: Cli, labels: Path, tmp_path: Path) -> None:
    entries = [{"question": question, "answer": answer} for question, answer in SMALL]
    entries[1]["alternatives"] = ["the till"]  # type: ignore[assignment]
    (tmp_path / "mine.json").write_text(json.dumps({"questions": entries}))
    (tmp_path / "views.json").write_text('{"views": ["phrasings"]}')
    labels.write_text("query,relevant\nthe till,1\n")
    options = ("--faqs", tmp_path / "mine.json", "--queries", labels, "--json")
    report = cli("evaluate", *options, "--config", tmp_path / "views.json").json
    assert report["hit@1"]["value"] == 1
    assert report["without_alternatives"] == {"hit@1": 0, "right_at_once": 0, "wrong_at_once": 1}
    assert "without_alternatives" not in cli("evaluate", *options).json
