"""The command line: the shapes that others read, and a sentence for every mistake."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE_FILE, DATA, SMALL, Cli, CountingEncoder, Run, WriteFaqs, assert_one_sentence
from sklearn.metrics import roc_auc_score

import faqlab
from faqlab.encoder import Encoder

FAQLAB = Path(sys.executable).with_name("faqlab")
COMMITTED = ("--faqs", DATA / "ecommerce.json", "--queries", DATA / "queries.csv")
MEASURES = ("hit@1", "hit@3", "mrr", "ndcg@10", "two_turn_success", "answer_rate", "false_answer_rate", "auroc")
LABELS = """query,relevant,kind
shoes that do not fit,2,paraphrase
paying by credit card,1,keyword
"parcel, where",0,keyword
who won the cup,,far_out_of_scope
"""


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """A configuration of these tests' own: the committed one may change."""
    path = tmp_path / "baseline.json"
    path.write_text('{"scale": 20, "none": 0.4, "decline_below": 0.5, "answer_from": 0.3}')
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(LABELS)
    return path


def in_a_process(*arguments: object, cwd: Path, **environment: object) -> Run:
    run = subprocess.run(
        [FAQLAB, *map(str, arguments)],
        env={
            **os.environ,
            "FAQLAB_RETRIEVAL": str(BASELINE_FILE),
            **{name: str(value) for name, value in environment.items()},
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Run(run.returncode, run.stdout, run.stderr)


def test_ask_prints_one_object_of_the_agreed_shape(cli: Cli, write_faqs: WriteFaqs, baseline: Path) -> None:
    run = cli("ask", "can I send shoes back?", "--faqs", write_faqs(), "--top-k", 2, "--config", baseline, "--json")
    assert (run.status, run.err) == (0, "")
    assert list(run.json) == [
        *("query", "outcome", "answered", "confidence", "answers", "choices", "hits", "milliseconds")
    ]
    assert run.json["query"] == "can I send shoes back?"
    assert (run.json["outcome"], run.json["answered"], run.json["choices"]) == ("answer", True, [])
    assert [list(hit) for hit in run.json["hits"]] == [["rank", "id", "question", "answer", "squared_l2", "score"]] * 2
    first = run.json["hits"][0]
    assert (first["rank"], first["id"], first["question"], first["answer"]) == (1, "2", *SMALL[2])
    assert 0.3 < first["score"] <= run.json["confidence"] <= 1
    assert set(run.json["milliseconds"]) == {"embed", "search"}


def test_ask_declines_past_the_threshold_and_still_tells_the_nearest(
    cli: Cli, write_faqs: WriteFaqs, tmp_path: Path
) -> None:
    config = tmp_path / "strict.json"
    config.write_text('{"scale": 20, "none": 0.85, "decline_below": 0.5}')
    asked = ("ask", "who won the world cup?", "--faqs", write_faqs(), "--config", config)
    run = cli(*asked, "--json")
    assert (run.json["outcome"], run.json["answered"], run.json["choices"]) == ("decline", False, [])
    assert run.json["answers"] == 0
    assert run.json["confidence"] < 0.5
    assert len(run.json["hits"]) == 3
    assert cli(*asked).out.startswith("I don't know")
    assert "Also found" not in cli(*asked).out


def test_ask_asks_back_where_the_best_are_close(cli: Cli, write_faqs: WriteFaqs, tmp_path: Path) -> None:
    config = tmp_path / "unsure.json"
    config.write_text('{"scale": 20, "none": 0, "answer_from": 1}')
    asked = ("ask", "send my shoes abroad", "--faqs", write_faqs(), "--config", config)
    run = cli(*asked, "--json")
    assert (run.json["outcome"], run.json["answered"]) == ("ask_back", False)
    assert run.json["choices"] == [hit["question"] for hit in run.json["hits"]][: len(run.json["choices"])]
    out = cli(*asked).out
    assert out.startswith(f"Do you mean: {run.json['choices'][0]} Or: ")
    assert "\nFound:\n" in out and "Also found" not in out


def test_ask_without_json_parts_the_answer_from_what_else_was_found(
    cli: Cli, write_faqs: WriteFaqs, baseline: Path
) -> None:
    asked = ("ask", "How do I pay?", "--faqs", write_faqs())
    lines = cli(*asked, "--top-k", 2).out.split("\n")
    assert lines[:4] == ["Answered by:", "", "1. How do I pay?   (score 1.00, squared L2 0.00)", "   By card."]
    assert lines[5] == "Also found:"
    assert lines[7].startswith("2. ")
    lines = cli(*asked, "--top-k", 1, "--config", baseline).out.split("\n")
    assert lines[2].startswith("1. How do I pay?   (probability ")
    assert "Also found:" not in lines


def test_both_answers_of_a_query_that_asks_two_things_stand_above_what_else_was_found(
    cli: Cli, write_faqs: WriteFaqs, baseline: Path
) -> None:
    lines = cli("ask", f"{SMALL[1][0]} {SMALL[3][0]}", "--faqs", write_faqs(), "--config", baseline).out.split("\n")
    assert [line[0] for line in lines if line[:1].isdigit()] == ["1", "2", "3"]
    assert lines.index("Also found:") > next(n for n, line in enumerate(lines) if line.startswith("2. "))


def test_ask_says_what_answers_a_labelled_query(cli: Cli, write_faqs: WriteFaqs, tmp_path: Path) -> None:
    queries = tmp_path / "queries.csv"
    queries.write_text("query,relevant\nwhere are my trainers,2\nwho won the cup,\n")

    def asked(query: str, *options: str) -> Run:
        return cli("ask", query, "--faqs", write_faqs(), "--queries", queries, *options)

    assert asked("where are my trainers", "--json").json["relevant"] == ["2"]
    assert "relevant" not in asked("another question", "--json").json
    assert f"Right by its label: “{SMALL[2][0]}” (number " in asked("where are my trainers").out
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(f"query,relevant\n{SMALL[2][0]},1 2\n")
    run = cli("ask", SMALL[2][0], "--faqs", write_faqs(), "--queries", wrong, "--top-k", "1")
    assert run.out.endswith(f"by its label: “{SMALL[1][0]}” (not among these), “{SMALL[2][0]}” (number 1).\n")
    wrong.write_text("query,relevant\nC#,1\nC++,2\nIt's here,3\n!!!,0\n")
    for query, relevant in {"C#": "1", "C++": "2", "its HERE": "3", "!!!": "0"}.items():
        run = cli("ask", query, "--faqs", write_faqs(), "--queries", wrong, "--json")
        assert run.json["relevant"] == [relevant]
    assert "relevant" not in cli("ask", "???", "--faqs", write_faqs(), "--queries", wrong, "--json").json
    assert asked("Where are MY  trainers?", "--json").json["relevant"] == ["2"]  # the same, typed otherwise
    assert asked("who won the cup").out.endswith("By its label nothing in the FAQ answers it.\n")
    assert asked("another question").out.endswith("No label: the file of queries does not have this one.\n")


@pytest.mark.parametrize("query", ["???", "📦❓", "…", "* *"])
def test_what_holds_no_word_is_declined_however_near_it_lies(
    cli: Cli, write_faqs: WriteFaqs, tmp_path: Path, query: str
) -> None:
    config = tmp_path / "lax.json"
    config.write_text('{"scale": 20, "none": 0}')
    run = cli("ask", query, "--faqs", write_faqs(), "--config", config, "--json")
    assert (run.json["outcome"], run.json["confidence"]) == ("decline", 0)
    assert cli("ask", query, "--faqs", write_faqs(), "--config", config).out.endswith("Ask something in words.\n")
    assert cli("ask", "7", "--faqs", write_faqs(), "--config", config, "--json").json["confidence"] > 0


@pytest.mark.parametrize("query", ["📦❓", "我的包裹在哪里？", "my\x07 parcel\x1b", "parcel " * 10_000, "f\udcfcr"])
def test_an_odd_query_has_an_answer_like_any_other(cli: Cli, write_faqs: WriteFaqs, query: str) -> None:
    run = cli("ask", query, "--faqs", write_faqs(), "--json")
    assert (run.status, run.err) == (0, "")
    assert len(run.json["hits"]) == 3


def test_an_argument_that_is_not_utf_8_has_an_answer_in_a_real_terminal_too(
    write_faqs: WriteFaqs, cache_dir: Path
) -> None:
    run = subprocess.run(
        [os.fsencode(FAQLAB), b"ask", b"f\xfcr shoes", b"--json", b"--faqs", os.fsencode(write_faqs())],
        env={
            **os.environ,
            "FAQLAB_CACHE_DIR": str(cache_dir),
            "FAQLAB_RETRIEVAL": str(BASELINE_FILE),
            "PYTHONIOENCODING": "utf-8:strict",
        },
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["query"] == "f?r shoes"


@pytest.mark.parametrize("query", ["", "  ", "\x01"])
def test_an_empty_query_is_one_sentence(cli: Cli, write_faqs: WriteFaqs, query: str) -> None:
    run = cli("ask", query, "--faqs", write_faqs())
    assert_one_sentence(run)
    assert "The query is empty" in run.err


@pytest.mark.parametrize("command", ["ask", "evaluate"])
@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_below_1_is_one_sentence(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, command: str, top_k: int
) -> None:
    arguments = ["my parcel"] if command == "ask" else ["--queries", labels]
    run = cli(command, *arguments, "--faqs", write_faqs(), "--top-k", top_k)
    assert_one_sentence(run)
    assert f"top_k is {top_k}: expected a whole number from 1 up" in run.err


def test_a_top_k_of_a_million_gives_every_entry(cli: Cli, write_faqs: WriteFaqs) -> None:
    run = cli("ask", "my parcel", "--faqs", write_faqs(), "--top-k", 10**6, "--json")
    assert sorted(hit["id"] for hit in run.json["hits"]) == ["0", "1", "2", "3"]


def test_a_configuration_that_is_not_there_is_one_sentence_when_it_was_asked_for(
    cli: Cli, write_faqs: WriteFaqs, tmp_path: Path
) -> None:
    run = cli("ask", "my parcel", "--faqs", write_faqs(), "--config", tmp_path / "none.json")
    assert_one_sentence(run)
    assert "none.json: no such file" in run.err


@pytest.mark.parametrize("content", ["{", '{"top_n": 3}', '{"top_k": "3"}', '{"encoder": 5}', '{"scale": 0}'])
def test_a_bad_configuration_is_one_sentence_that_names_the_file(
    cli: Cli, write_faqs: WriteFaqs, tmp_path: Path, content: str
) -> None:
    config = tmp_path / "bad.json"
    config.write_text(content)
    run = cli("ask", "my parcel", "--faqs", write_faqs(), "--config", config)
    assert_one_sentence(run)
    assert f"faqlab: {config}: " in run.err


LONG = "a" * 300
UNUSABLE = {
    "a configuration of 300 letters": (["--config", LONG], {}, "no such file"),
    "an FAQ of 300 letters": ([], {"FAQLAB_FAQS": LONG}, "name your FAQ by --faqs or FAQLAB_FAQS"),
    "an FAQ in the home of nobody": ([], {"FAQLAB_FAQS": "~nobody-of-this-name/x.json"}, "there is no such user"),
    "a .env in Latin-1": ([], {"FAQLAB_ENV_FILE": "latin-1.env"}, "save it as a file of text in UTF-8"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_name_or_file_that_cannot_be_used_is_one_sentence_in_a_real_process(
    case: str, tmp_path: Path, cache_dir: Path
) -> None:
    options, environment, expected = UNUSABLE[case]
    (tmp_path / "latin-1.env").write_bytes("FAQLAB_AGENT_NAME=für\n".encode("latin-1"))
    run = in_a_process("ask", "shoes", *options, cwd=tmp_path, FAQLAB_CACHE_DIR=cache_dir, **environment)
    assert_one_sentence(run)
    assert expected in run.err


def test_a_named_configuration_that_is_not_there_is_told_and_the_baseline_answers(
    write_faqs: WriteFaqs, tmp_path: Path, cache_dir: Path
) -> None:
    environment = {"FAQLAB_CACHE_DIR": cache_dir, "FAQLAB_RETRIEVAL": "nothing.json"}
    run = in_a_process("ask", "shoes", "--faqs", write_faqs(), "--json", cwd=tmp_path, **environment)
    assert run.json["outcome"] == "answer"
    assert run.err.count("\n") == 1
    assert "nothing.json: no such file, so questions are decided as in the baseline" in run.err


def test_encoders_that_cannot_be_made_ready_are_told_in_a_sentence(tmp_path: Path, cache_dir: Path) -> None:
    (tmp_path / "mine.json").write_text('{"encoder": "no/such/folder"}')
    environment = {"FAQLAB_CACHE_DIR": cache_dir, "FAQLAB_RETRIEVAL": "mine.json"}
    run = in_a_process("prepare", "--encoders", cwd=tmp_path, **environment)
    assert_one_sentence(run)
    assert "no/such/folder" in run.err


def test_a_terminal_that_is_not_utf_8_is_given_what_it_can_show_and_whole_json(
    write_faqs: WriteFaqs, tmp_path: Path, cache_dir: Path
) -> None:
    faqs = write_faqs([("Where is my parcel? 📦", "Here. 📦")])
    environment = {"FAQLAB_CACHE_DIR": cache_dir, "PYTHONIOENCODING": "latin-1"}
    run = in_a_process("ask", "📦 where", "--faqs", faqs, "--json", cwd=tmp_path, **environment)
    assert (run.json["query"], run.json["hits"][0]["answer"]) == ("📦 where", "Here. 📦")
    run = in_a_process("ask", "📦 where", "--faqs", faqs, cwd=tmp_path, **environment)
    assert "Here. \\U0001f4e6" in run.out


def test_an_unknown_option_and_a_wrong_number_end_in_usage_and_status_2(cli: Cli) -> None:
    for arguments in (["ask", "x", "--top-k", "three"], ["ask"], ["ask", "x", "--what"], ["answer"]):
        run = cli(*arguments)
        assert run.status == 2
        assert "Usage: " in run.err
        assert "Traceback" not in run.err


def test_evaluate_prints_one_object_of_the_agreed_shape(cli: Cli, baseline: Path) -> None:
    run = cli("evaluate", *COMMITTED, "--config", baseline, "--json")
    assert (run.status, run.err) == (0, "")
    report = run.json
    assert list(report) == ["split", "queries", *MEASURES, "false_answer_rate_at_85", "outcomes", "by_kind"]
    for shares in (report["outcomes"]["answerable"], report["outcomes"]["out_of_scope"]):
        assert list(shares) == ["answer", "ask_back", "decline"]
        assert sum(shares.values()) == pytest.approx(1, abs=2e-4)
    assert report["split"] == "test"
    for name in MEASURES:
        assert list(report[name]) == ["value", "low", "high"]
        assert 0 <= report[name]["low"] <= report[name]["value"] <= report[name]["high"] <= 1
    kinds = report["by_kind"]
    assert {tuple(kind) for kind in kinds.values()} == {("queries", "hit@1", "hit@3", "mrr", "answered")}
    assert sum(kind["queries"] for kind in kinds.values()) == report["queries"]
    assert kinds["near_out_of_scope"]["hit@1"] is None


def test_the_rows_of_per_query_give_the_figures_of_the_report(cli: Cli, baseline: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    options = "--split", "tune", "--config", baseline, "--top-k", 5
    report = cli("evaluate", *COMMITTED, *options, "--per-query", file, "--json").json
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert list(rows[0]) == [
        *("id", "kind", "ranked", "squared_l2", "confidence", "answered", "outcome", "first", "query", "relevant")
    ]
    assert len(rows) == report["queries"]
    labels = pd.read_csv(DATA / "queries.csv", dtype=str, keep_default_na=False).set_index("id")
    assert [row["id"] for row in rows] == labels.index[labels["split"] == "tune"].tolist()
    for column in ("query", "relevant"):
        assert [row[column] for row in rows] == labels.loc[[row["id"] for row in rows], column].tolist()

    ranked = [row["ranked"].split(" ") for row in rows]
    assert {len(ids) for ids in ranked} == {10}
    relevant = [set(str(labels.loc[row["id"], "relevant"]).split()) for row in rows]
    inside = np.array([bool(ids) for ids in relevant])
    ranks = [
        next((n for n, faq in enumerate(ids, start=1) if faq in right), np.inf)
        for ids, right in zip(ranked, relevant, strict=True)
    ]
    answered = np.array([row["answered"] == "True" for row in rows])
    confidence = np.array([float(row["confidence"]) for row in rows])
    expected = {
        "hit@1": np.mean(np.array(ranks)[inside] <= 1),
        "hit@3": np.mean(np.array(ranks)[inside] <= 3),
        "hit@5": np.mean(np.array(ranks)[inside] <= 5),
        "answer_rate": answered[inside].mean(),
        "false_answer_rate": answered[~inside].mean(),
        "auroc": roc_auc_score(inside, confidence),
    }
    assert {name: report[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-4)
    outcomes = np.array([row["outcome"] for row in rows])
    np.testing.assert_array_equal(answered, outcomes == "answer")
    np.testing.assert_array_equal(outcomes == "decline", confidence < 0.5)
    for scope, chosen in (("answerable", inside), ("out_of_scope", ~inside)):
        shares = {outcome: (outcomes[chosen] == outcome).mean() for outcome in ("answer", "ask_back", "decline")}
        assert report["outcomes"][scope] == pytest.approx(shares, abs=1e-4)
    # A right answer at once, or a right choice among the two or three that were offered.
    right = np.where(answered, np.array(ranks) <= 1, (outcomes == "ask_back") & (np.array(ranks) <= 2))
    most = np.where(answered, np.array(ranks) <= 1, (outcomes == "ask_back") & (np.array(ranks) <= 3))
    assert right[inside].mean() <= report["two_turn_success"]["value"] + 1e-4 <= most[inside].mean() + 2e-4
    assert [row["kind"] for row in rows] == labels.loc[[row["id"] for row in rows], "kind"].tolist()


def test_a_label_of_many_ids_is_written_whole(cli: Cli, write_faqs: WriteFaqs, tmp_path: Path) -> None:
    queries, file, ids = tmp_path / "queries.csv", tmp_path / "rows.csv", " ".join(map(str, range(12)))
    queries.write_text(f"query,relevant\nwhich rules are there,{ids}\n")
    faqs = write_faqs([(f"What is rule {n}?", "This.") for n in range(12)])
    cli("evaluate", "--faqs", faqs, "--queries", queries, "--per-query", file)
    assert pd.read_csv(file)["relevant"].tolist() == [ids]


def test_the_two_splits_are_apart_and_test_is_the_default(cli: Cli, tmp_path: Path) -> None:
    ids = {}
    for split in ("tune", "test"):
        file = tmp_path / f"{split}.csv"
        assert cli("evaluate", *COMMITTED, "--split", split, "--per-query", file, "--json").json["split"] == split
        ids[split] = set(pd.read_csv(file)["id"])
    assert not ids["tune"] & ids["test"]
    cli("evaluate", *COMMITTED, "--per-query", tmp_path / "default.csv")
    assert set(pd.read_csv(tmp_path / "default.csv")["id"]) == ids["test"]


def test_a_queries_file_without_a_split_is_used_whole(cli: Cli, write_faqs: WriteFaqs, labels: Path) -> None:
    for split in ("test", "tune"):
        report = cli("evaluate", "--faqs", write_faqs(), "--queries", labels, "--split", split, "--json").json
        assert (report["split"], report["queries"]) == (None, 4)
        assert report["hit@1"]["value"] == 1


def test_an_unknown_split_is_one_sentence(cli: Cli, write_faqs: WriteFaqs, labels: Path) -> None:
    run = cli("evaluate", "--faqs", write_faqs(), "--queries", labels, "--split", "train")
    assert_one_sentence(run)
    assert "--split train: expected tune or test" in run.err


def test_what_has_no_query_to_be_measured_on_is_null(cli: Cli, write_faqs: WriteFaqs, tmp_path: Path) -> None:
    only = tmp_path / "only.csv"
    nothing = {"value": None, "low": None, "high": None}
    only.write_text("query,relevant\nmy parcel,0\n")
    report = cli("evaluate", "--faqs", write_faqs(), "--queries", only, "--json").json
    assert report["auroc"] == report["false_answer_rate"] == nothing
    only.write_text("query,relevant\nwho won the cup,\n")
    report = cli("evaluate", "--faqs", write_faqs(), "--queries", only, "--json").json
    assert report["hit@1"] == report["answer_rate"] == report["auroc"] == nothing


def test_evaluate_says_which_queries_it_measured_and_what_that_is_worth(
    cli: Cli, write_faqs: WriteFaqs, labels: Path
) -> None:
    out = cli("evaluate", *COMMITTED).out
    assert out.startswith("268 queries, the test split of ")
    assert "flatter" not in out and "Only" not in out
    assert "Settings are chosen on this split" in cli("evaluate", *COMMITTED, "--split", "tune").out
    out = cli("evaluate", "--faqs", write_faqs(), "--queries", labels).out
    assert out.startswith("4 queries, all of ")
    assert "They have no split" in out and "Only 3 answerable" in out and "Only 1 out of scope" in out


def test_evaluate_without_json_prints_all_tables(cli: Cli, write_faqs: WriteFaqs, labels: Path) -> None:
    out = cli("evaluate", "--faqs", write_faqs(), "--queries", labels).out
    assert "against the 4 entries" in out
    for word in (
        *MEASURES,
        "false_answer_rate_at_85",
        "value",
        "low",
        "high",
        "kind",
        "keyword",
        "far_out_of_scope",
        "1.000",
    ):
        assert word in out
    assert "nan" not in out.lower()


def test_per_query_into_a_folder_that_is_not_there_is_one_sentence(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, tmp_path: Path
) -> None:
    file = tmp_path / "nowhere" / "rows.csv"
    run = cli("evaluate", "--faqs", write_faqs(), "--queries", labels, "--per-query", file, "--json")
    assert_one_sentence(run)
    assert "name another file by --per-query" in run.err


def test_an_faq_of_ones_own_without_ids_is_answered_and_does_not_harm_the_first_ones_cache(
    cli: Cli, write_faqs: WriteFaqs, cache_dir: Path
) -> None:
    cli("ask", "my parcel", "--faqs", DATA / "ecommerce.json")
    (first,) = cache_dir.glob("ecommerce-*")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in first.iterdir()}
    run = cli("ask", "do you deliver to other countries", "--faqs", write_faqs(), "--json")
    assert [run.json["hits"][0][key] for key in ("id", "question")] == ["3", SMALL[3][0]]
    assert len(list(cache_dir.glob("mine-*"))) == 1
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in first.iterdir()} == before


def test_a_changed_faq_of_ones_own_is_answered_from_its_new_text(cli: Cli, write_faqs: WriteFaqs) -> None:
    cli("ask", "my parcel", "--faqs", write_faqs())
    path = write_faqs([*SMALL[1:], ("Where has my parcel got to?", "It is here.")])
    assert cli("ask", "my parcel", "--faqs", path, "--json").json["hits"][0]["answer"] == "It is here."


def test_ones_own_two_files_are_honoured_from_another_working_directory(
    write_faqs: WriteFaqs, labels: Path, tmp_path: Path, cache_dir: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_faqs(name="elsewhere/mine.json")
    mine = {"FAQLAB_CACHE_DIR": cache_dir, "FAQLAB_FAQS": "mine.json", "FAQLAB_QUERIES": labels}
    run = in_a_process("ask", "shoes", "--json", cwd=elsewhere, **mine)  # relative to where the shell stands
    assert [hit["answer"] for hit in run.json["hits"]][:1] == [SMALL[2][1]]
    mine["FAQLAB_FAQS"] = elsewhere / "mine.json"
    assert in_a_process("evaluate", "--json", cwd=tmp_path, **mine).json["queries"] == 4


def test_the_projects_own_files_are_found_from_another_working_directory(tmp_path: Path, cache_dir: Path) -> None:
    environment = {"FAQLAB_CACHE_DIR": cache_dir, "FAQLAB_FAQS": "data/ecommerce.json"}  # as from the root
    run = in_a_process("ask", "Do I need an account to place an order?", "--json", cwd=tmp_path, **environment)
    assert run.json["hits"][0]["id"] == "guest-checkout"


def test_a_mistake_in_the_environment_is_one_sentence_in_a_real_process(tmp_path: Path, cache_dir: Path) -> None:
    environment = {"FAQLAB_CACHE_DIR": cache_dir, "FAQLAB_FAQS": tmp_path / "nothing.json"}
    run = in_a_process("ask", "shoes", cwd=tmp_path, **environment)
    assert_one_sentence(run)
    assert "nothing.json: no such file: name your FAQ by --faqs or FAQLAB_FAQS" in run.err


def test_an_option_wins_over_the_environment(
    cli: Cli, write_faqs: WriteFaqs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAQLAB_FAQS", str(tmp_path / "nothing.json"))
    assert cli("ask", "shoes", "--faqs", write_faqs()).status == 0


def test_a_reader_that_goes_away_leaves_no_traceback(write_faqs: WriteFaqs, cache_dir: Path) -> None:
    path = write_faqs([(f"What is rule {n}?", "A long answer. " * 200) for n in range(50)])
    process = subprocess.Popen(
        [FAQLAB, "ask", "rule", "--top-k", "50", "--faqs", path],
        env={**os.environ, "FAQLAB_CACHE_DIR": str(cache_dir), "FAQLAB_RETRIEVAL": str(BASELINE_FILE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
    process.stderr.close()


def test_prepare_builds_what_the_first_question_would_wait_for(
    cli: Cli, write_faqs: WriteFaqs, cache_dir: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_faqs()
    assert cli("prepare", "--faqs", path).status == 0
    assert len(list(cache_dir.glob("mine-*/faiss_index.bin"))) == 1
    counting = CountingEncoder(encoder, fingerprint=encoder.fingerprint)
    monkeypatch.setattr("faqlab.retriever.load_encoder", lambda name, folder: counting)
    cli("ask", "shoes", "--faqs", path)
    assert counting.texts == ["shoes"]


def test_the_version_is_the_packages(cli: Cli) -> None:
    assert cli("--version").out == f"faqlab {faqlab.__version__}\n"


def test_the_module_runs_as_the_command_does(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "faqlab.cli", "--version"], capture_output=True, text=True, cwd=tmp_path
    )
    assert run.stdout == f"faqlab {faqlab.__version__}\n"
