"""Two systems compared: the tests of the measures, the verdict and its exit status, and the report."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy
import yaml
from bs4 import BeautifulSoup
from conftest import SMALL, Cli, WriteFaqs, assert_one_sentence
from sklearn.metrics import roc_auc_score

from faqlab import evaluation
from faqlab.compare import COLUMNS, DECIDING, compare, load_run
from faqlab.errors import FaqlabError
from faqlab.evaluation import holm, judge, per_query, summarise
from faqlab.settings import PROJECT_ROOT

BLIND = '{"views": ["answer"], "scale": 20, "scope_scale": 20, "null_cosine": 0.95, "decline_below": 0.9}'
"""A configuration that declines everything."""


def queries(answerable: int = 30, out_of_scope: int = 10) -> pd.DataFrame:
    names = [f"q{n:02}" for n in range(answerable + out_of_scope)]
    inside = np.arange(len(names)) < answerable
    table = pd.DataFrame({"id": names, "query": [f"question {name}" for name in names], "answerable": inside})
    table["relevant"] = [("a",) if of else () for of in inside]
    return table.assign(kind="any", split="")


def results(right: int, of: pd.DataFrame | None = None, seed: int = 1, **columns: Any) -> pd.DataFrame:
    """Results in which the first *right* queries have the right entry first."""
    of = queries() if of is None else of
    ranked = [("a", "b") if n < right else ("b", "a") for n in range(len(of))]
    confidence = np.random.default_rng(seed).normal(of["answerable"] * 0.5, 1)
    found = ["A?" if first == "a" else "B?" for first, _ in ranked]
    return judge(of, ranked, confidence, found=found, **columns)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Forty queries that the baseline gets right, and one out of scope."""
    path = tmp_path / "labels.csv"
    asked = [f"{question} ({n})" for n in range(10) for question, _ in SMALL]
    rows = [f"q{n},{text},{n % 4}" for n, text in enumerate(asked)]
    path.write_text("\n".join(["id,query,relevant", *rows, "o1,who won the cup,"]))
    return path


@pytest.fixture
def configs(tmp_path: Path) -> tuple[Path, Path]:
    """The baseline, and a configuration that declines everything."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text("{}")
    bad.write_text(BLIND)
    return good, bad


def test_each_measure_is_the_mean_of_its_values_by_query() -> None:
    judged = results(20)
    expected = summarise(judged)["value"]
    pd.testing.assert_series_equal(per_query(judged).mean(), expected, check_names=False)
    assert expected["auroc"] == pytest.approx(roc_auc_score(judged["answerable"], judged["confidence"]))


def test_the_variance_of_auroc_is_that_of_delong() -> None:
    """Compared with the formula of the paper, for the difference of two systems on the same queries."""

    def placements(of: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        inside, outside = (of["confidence"][of["answerable"] == scope].to_numpy() for scope in (True, False))
        above = (inside[:, None] > outside) + (inside[:, None] == outside) / 2
        return above.mean(axis=1), above.mean(axis=0)

    a, b = results(10, queries(80, 40), seed=1), results(10, queries(80, 40), seed=2)
    values = (per_query(b) - per_query(a))["auroc"]
    errors = [scipy.stats.sem(of - other) for of, other in zip(placements(a), placements(b), strict=True)]
    assert values.std() / np.sqrt(len(values)) == pytest.approx(np.hypot(*errors), rel=0.02)


def test_auroc_needs_queries_of_both_scopes() -> None:
    for of in (queries(5, 0), queries(0, 5)):
        assert per_query(results(3, of))["auroc"].isna().all()


def test_p_is_corrected_for_the_measures_that_decide_and_for_the_others() -> None:
    measures = pd.DataFrame(compare(results(12), results(24))["measures"]).T
    deciding = measures.index.isin([*DECIDING])
    for those in (deciding, ~deciding):
        of = measures[those]
        assert of["corrected_p"].astype(float).to_dict() == pytest.approx(holm(of["p"].astype(float)).to_dict())
    both = measures.loc[[*DECIDING]].astype({"p": float, "corrected_p": float})
    assert both["corrected_p"].min() == pytest.approx(2 * both["p"].min())


@pytest.mark.parametrize(
    ("first", "second", "verdict"), [(10, 25, "better"), (25, 10, "worse"), (25, 25, ""), (25, 24, "")]
)
def test_the_verdict_follows_the_sign_of_a_significant_difference(first: int, second: int, verdict: str) -> None:
    measures = compare(results(first), results(second))["measures"]
    assert measures["hit@1"]["b_is"] == measures["cost"]["b_is"] == verdict
    assert {of["b_is"] for name, of in measures.items() if name not in DECIDING} == {""}
    assert measures["hit@1"]["difference"] == pytest.approx((second - first) / 30)


def test_the_cost_is_that_of_each_outcome_by_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    of = queries(5, 3)
    judged = results(5, of).assign(
        result=[*evaluation.RESULTS, "answered wrong", "clarified wrong", "declined"],  # the last three: out of scope
        answered=[True, False, False, True, False, True, False, False],
    )
    prices = {"wrong": 100.0, "false": 10.0, "declined": 3.0, "clarified": 1.0}
    monkeypatch.setattr("faqlab.compare.PRICES", prices)
    cost = compare(judged, judged)["measures"]["cost"]["a"]
    assert cost == pytest.approx((0 + 1 + (1 + 3) + 100 + 3 + 10 + 1 + 0) / 8)


def test_a_query_is_won_by_its_first_entry_or_out_of_scope_by_no_answer() -> None:
    a, b = results(2, queries(3, 2)), results(3, queries(3, 2))
    b.loc[1, "hit@1"] = 0.0
    b.loc[4, "answered"] = False
    found = compare(a, b)
    assert [row["id"] for row in found["won"]] == ["q02", "q04"]
    assert found["lost"] == [
        {"id": "q01", "query": "question q01", "found_a": "A?", "result_a": "answered right"}
        | {"found_b": "A?", "result_b": "answered right"}
    ]


def test_results_are_paired_by_id_whatever_their_order() -> None:
    a, b = results(20), results(24)
    shuffled = b.sample(frac=1, random_state=0)
    assert compare(a, shuffled) == compare(a, b)


@pytest.mark.parametrize("change", ["fewer", "other words", "other ids"])
def test_results_for_different_queries_are_refused(change: str) -> None:
    a = results(20)
    b = {
        "fewer": a[1:],
        "other words": a.assign(query=a["query"] + "?"),
        "other ids": a.assign(id=[f"x{n}" for n in range(len(a))]),
    }[change]
    with pytest.raises(FaqlabError, match="A and B are for different queries"):
        compare(a, b)


def test_a_saved_run_is_read_as_it_was(cli: Cli, write_faqs: WriteFaqs, labels: Path, tmp_path: Path) -> None:
    text = 'id,query,relevant\n007,None,0\n1e3,"a, ""quoted"" one",1\nnan,nan,\n'
    labels.write_text(text)
    saved = tmp_path / "run.csv"
    run = cli("evaluate", "--faqs", write_faqs(), "--queries", labels, "--save", saved)
    assert run.status == 0
    table = load_run(saved)
    assert table["id"].tolist() == ["007", "1e3", "nan"]
    assert table["query"].tolist() == ["None", 'a, "quoted" one', "nan"]
    assert table["answerable"].tolist() == [True, True, False]
    assert set(table["found"]) <= {question for question, _ in SMALL}
    assert table["hit@1"].isna().tolist() == [False, False, True]
    again = compare(table, table)
    assert again["measures"]["hit@1"]["difference"] == 0
    assert set(table) == set(COLUMNS)


@pytest.mark.parametrize(
    "changes",
    [{"hit@1": ""}, {"hit@1": 5}, {"result": "Answered wrong"}, {"id": "q1"}, {"answerable": False}, None],
)
def test_a_run_that_was_changed_or_is_empty_is_refused(changes: dict[str, Any] | None, tmp_path: Path) -> None:
    run = results(20).assign(relevant=queries()["relevant"].map(" ".join))
    run = run.assign(**changes) if changes else run[:0]
    run.to_csv(tmp_path / "run.csv", index=False)
    with pytest.raises(FaqlabError, match=r"run\.csv: not a saved run"):
        load_run(tmp_path / "run.csv")


def test_saved_runs_with_other_labels_are_not_compared() -> None:
    run = results(20).assign(relevant=queries()["relevant"].map(" ".join))
    with pytest.raises(FaqlabError, match="or for other ids or labels"):
        compare(run, run.assign(relevant=run["relevant"].str.replace("a", "b")))


def test_what_is_read_is_not_written_over(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path]
) -> None:
    faqs, before = write_faqs(), labels.read_bytes()
    both = ("--faqs", faqs, "--queries", labels)
    for out in (faqs, labels):
        assert_one_sentence(cli("evaluate", *both, "--save", out), out, "isn't written over")
        assert_one_sentence(cli("compare", *configs, *both, "--html", out), out, "isn't written over")
        assert_one_sentence(cli("tune", *both, "-o", out), out, "isn't written over")
    assert labels.read_bytes() == before


def test_the_exit_status_says_whether_b_is_worse(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path]
) -> None:
    good, bad = configs
    faqs = write_faqs()
    options = ("--faqs", faqs, "--queries", labels)
    worse, better, same = (cli("compare", *pair, *options) for pair in ((good, bad), (bad, good), (good, good)))
    assert (worse.status, better.status, same.status) == (1, 0, 0)
    assert "B is significantly worse in cost." in worse.out
    assert "B is significantly better in cost." in better.out
    assert "Neither is significantly better in hit@1 or cost." in same.out
    assert "nan" not in worse.out + better.out + same.out
    assert f"41 queries from {labels} (FAQ: {faqs}). A: {good}. B: {bad}." in worse.out


def test_a_minimum_that_b_does_not_reach_is_status_1(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path]
) -> None:
    good, bad = configs
    options = ("compare", bad, good, "--faqs", write_faqs(), "--queries", labels, "--json")
    assert cli(*options, "--min", "hit@1=.5", "--min", "mrr=0.5").status == 0
    run = cli(*options, "--min", "hit@1=1.1", "--min", "mrr=0.5")
    assert (run.status, run.json["below"]) == (1, {"hit@1": 1.1})
    labels.write_text("query,relevant\nmy parcel,0\n")
    assert cli(*options, "--min", "auroc=0.5").json["below"] == {"auroc": 0.5}  # what can't be measured isn't reached


def test_two_faqs_are_compared_by_one_configuration_each_with_its_own_entries(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path]
) -> None:
    mixed = [
        (question, answer) for question, answer in zip(["Colours?", "Sizes?", "Jobs?", "Press?"], "abcd", strict=True)
    ]
    faqs, worse = write_faqs(), write_faqs(mixed, "mixed.json")
    run = cli("compare", faqs, worse, "--config", configs[0], "--queries", labels, "--json")
    assert run.status == 1
    assert run.json["measures"]["hit@1"]["b_is"] == "worse"
    lost = run.json["lost"][0]
    assert lost["found_a"] in {question for question, _ in SMALL}
    assert lost["found_b"] in {question for question, _ in mixed}


def test_saved_runs_are_compared_without_any_option(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path], tmp_path: Path
) -> None:
    runs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    options = ("--faqs", write_faqs(), "--queries", labels)
    for run, config in zip(runs, configs, strict=True):
        cli("evaluate", *options, "--config", config, "--save", run)
    saved, direct = cli("compare", *runs, "--json"), cli("compare", *configs, *options, "--json")
    assert (saved.status, direct.status) == (1, 1)
    for key in ("measures", "won", "lost", "outcomes", "queries"):
        assert saved.json[key] == direct.json[key]


def test_a_wrong_combination_gets_a_sentence(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path], tmp_path: Path
) -> None:
    faqs, (good, bad) = write_faqs(), configs
    both = ("--faqs", faqs, "--queries", labels)
    assert_one_sentence(cli("compare", good, bad), good, "not a saved run", "--faqs", "--config")
    assert_one_sentence(cli("compare", faqs, faqs, *both), faqs, "questions: extra inputs are not permitted")
    assert_one_sentence(cli("compare", good, bad, "--config", good, "--queries", labels), good, "questions")
    assert_one_sentence(cli("compare", good, bad, *both, "--config", good), "leave one of them out")
    short = write_faqs(SMALL[:2], "short.json")
    assert_one_sentence(cli("compare", faqs, short, "--config", good, "--queries", labels), short, "no entry '2'")
    for least in ("hit@2=.7", "hit@1", "hit@1=high", "cost=1"):
        run = cli("compare", good, bad, *both, "--min", least)
        assert_one_sentence(run, f"--min {least[:4]}", "write NAME=NUMBER, with one of")
    assert_one_sentence(cli("compare", good, bad, *both, "--html", tmp_path), "can't be written")
    none = tmp_path / "none.json"
    for other, options in ((good, both), (none, ()), (faqs, ("--config", good, "--queries", labels))):
        assert_one_sentence(cli("compare", none, other, *options), f"{none}: no")


def test_the_report_is_one_file_that_shows_all_of_it(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path], tmp_path: Path
) -> None:
    pairs = [("Where is <my> parcel?", "Follow the link."), *SMALL[1:]]
    options = ("--faqs", write_faqs(pairs), "--queries", labels, "--html", tmp_path / "report.html", "--json")
    report = cli("compare", *configs, *options).json
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|<link|src=|@import|url\(", text)
    assert "<my>" not in text
    page = BeautifulSoup(text, "html.parser")
    assert "B is significantly worse in cost" in " ".join(page.get_text().split())
    assert len(page.select("tbody tr")) == len(report["measures"])
    assert [len(of.select("blockquote")) for of in page.select("details")] == [len(report["won"]), len(report["lost"])]


def test_the_workflow_in_the_readme_refuses_an_faq_that_became_worse(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands are run in a repository, but for the setup, and faqlab in this process."""
    text = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "faqlab compare" in block]
    (job,) = yaml.safe_load(block)["jobs"].values()
    setup, *shows, compares = [step["run"] for step in job["steps"] if "run" in step]
    assert setup == "make setup"

    write_faqs()
    labels.rename(tmp_path / "mine.csv")
    (tmp_path / "mine_retrieval.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    author = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    for command in (["init", "-q"], ["add", "mine.json", "mine.csv"], [*author, "commit", "-qm", "FAQ"]):
        subprocess.run(["git", *command], check=True)
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], check=True)
    for command in shows:
        subprocess.run(["bash", "-ec", command], check=True, env={**os.environ, "GITHUB_BASE_REF": "main"})
    program, *arguments = shlex.split(compares)
    assert program.endswith("/faqlab")
    assert cli(*arguments).status == 0
    write_faqs([(f"What is rule {n}?", "Be kind.") for n in range(4)])
    assert cli(*arguments).status == 1


def test_json_is_what_the_documentation_lists(
    cli: Cli, write_faqs: WriteFaqs, labels: Path, configs: tuple[Path, Path]
) -> None:
    run = cli("compare", *configs, "--faqs", write_faqs(), "--queries", labels, "--json")
    documented = (PROJECT_ROOT / "docs/output.md").read_text(encoding="utf-8")
    section = documented.split("## `faqlab compare --json`")[1].split("\n## ")[0]
    fields = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(run.json) == set(re.findall("`([^`]+)`", "".join(fields)))
