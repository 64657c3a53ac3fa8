"""What `faqlab check` finds in an FAQ and its queries, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import DATA, SMALL, Cli, WriteFaqs

from faqlab.check import LONG, check
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.queries import load_queries
from faqlab.retriever import Retriever

CANCEL = ("How can I cancel my order?", "Write to us within 2 hours of ordering, and we cancel it.")
AGAIN = "How do I cancel an order?"


@pytest.fixture
def findings(encoder: Encoder, tmp_path: Path) -> Any:
    """Check an FAQ of `SMALL` and other (question, answer) pairs with the baseline."""

    def of(*pairs: tuple[str, str], queries: pd.DataFrame | None = None) -> dict[str, list[Any]]:
        entries = tuple(Faq(str(n), question, answer) for n, (question, answer) in enumerate([*SMALL, *pairs]))
        return check(Retriever.build(FaqSet(entries), encoder=encoder, cache_dir=tmp_path), queries)

    return of


def ids(pairs: list[list[dict[str, str]]]) -> list[list[str]]:
    return [[entry["id"] for entry in pair] for pair in pairs]


def labelled(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Queries from (text, id of the right entry or nothing, split)."""
    table = pd.DataFrame(rows, columns=["query", "relevant", "split"])
    table["id"] = [f"q{n}" for n in range(len(rows))]
    table["relevant"] = [(faq_id,) if faq_id else () for faq_id in table["relevant"]]
    return table.assign(answerable=table["relevant"].map(bool), kind="any")


def test_entries_that_say_the_same_in_other_words_are_near_duplicates(findings: Any) -> None:
    found = findings(CANCEL, (AGAIN, "Write to us within 2 hours after ordering and we'll cancel the order."))
    assert ids(found["near_duplicates"]) == [["4", "5"]]
    assert found["contradictions"] == []


@pytest.mark.parametrize(
    "answer",
    [
        "Write to us within 24 hours of ordering, and we cancel it.",
        "You can't cancel it: write to us within 2 hours of ordering, and we change it.",
    ],
)
def test_near_duplicates_whose_answers_differ_in_a_number_or_a_negation_may_contradict(
    findings: Any, answer: str
) -> None:
    found = findings(CANCEL, (AGAIN, answer))
    assert ids(found["contradictions"]) == [["4", "5"]]
    assert found["near_duplicates"] == []


def test_questions_that_set_different_conditions_are_no_duplicates(findings: Any) -> None:
    early = ("Can I cancel more than 30 days ahead?", "Yes, we refund the whole price of the booking.")
    late = ("Can I cancel 8 to 20 days ahead?", "Yes, we refund half of the price of the booking.")
    found = findings(early, late)
    assert found["contradictions"] == found["near_duplicates"] == []


def test_an_answer_is_too_long_from_the_word_after_the_limit_and_markup_is_not_counted(findings: Any) -> None:
    fits, exceeds = (" ".join(["word"] * n) for n in (LONG, LONG + 1))
    found = findings(("A?", fits), ("B?", exceeds), ("C?", f"<p>{fits}</p> <br> <hr>"))
    assert [(row["id"], row["words"]) for row in found["long_answers"]] == [("5", LONG + 1)]


def test_an_entry_that_no_query_is_labelled_with_is_named(findings: Any) -> None:
    found = findings(queries=labelled(("my parcel", "0", ""), ("pay by card", "1", ""), ("the cup", "", "")))
    assert [row["id"] for row in found["without_queries"]] == ["2", "3"]


def test_a_wrong_label_is_found_and_a_right_one_is_not(findings: Any) -> None:
    found = findings(queries=labelled(("where is my parcel", "1", ""), ("how can I pay", "1", ""), ("the cup", "", "")))
    (row,) = found["labels_not_found"]
    assert row == {"id": "q0", "query": "where is my parcel", "relevant": ("1",), "found": SMALL[0][0]}


def test_most_wrong_labels_of_the_shop_are_found_and_few_right_ones_doubted(
    retriever: Retriever, queries: pd.DataFrame
) -> None:
    asked = queries[queries["answerable"]][::4].reset_index(drop=True)
    wrong = asked.assign(relevant=asked["relevant"].sample(frac=1, random_state=0).tolist())
    assert len(check(retriever, asked)["labels_not_found"]) < 0.15 * len(asked)
    assert len(check(retriever, wrong)["labels_not_found"]) > 0.5 * len(asked)


def test_queries_with_the_same_words_in_both_splits_are_found(findings: Any) -> None:
    rows = labelled(
        ("My parcel, please!", "0", "tune"),
        ("my  parcel please", "0", "test"),
        ("How to pay?", "1", "tune"),
        ("how to pay", "1", "tune"),
        ("???", "", "tune"),
        ("!!!", "", "test"),
    )
    assert findings(queries=rows)["in_both_splits"] == [
        [{"id": "q0", "query": "My parcel, please!"}, {"id": "q1", "query": "my  parcel please"}]
    ]


def test_the_projects_own_queries_stand_in_one_split_and_reach_every_entry(retriever: Retriever) -> None:
    found = check(retriever, load_queries(DATA / "queries.csv", retriever.faqs))
    assert found["in_both_splits"] == found["without_queries"] == []


def test_the_status_is_1_only_if_a_query_stands_in_both_splits(cli: Cli, write_faqs: WriteFaqs, tmp_path: Path) -> None:
    path, faqs = tmp_path / "labels.csv", write_faqs([*SMALL, CANCEL, (AGAIN, CANCEL[1])])
    options = ("check", "--faqs", faqs, "--queries", path)
    path.write_text("query,relevant,split\nmy parcel,0,tune\nhow do I pay,1,test\n")
    run = cli(*options)
    assert run.status == 0
    assert "say nearly the same (1)." in run.out and CANCEL[0] in run.out
    path.write_text("query,relevant,split\nmy parcel,0,tune\nMy parcel?,0,test\n")
    run = cli(*options)
    assert run.status == 1
    assert "q1 and q2: my parcel" in run.out
    assert cli(*options, "--json").json["in_both_splits"] == [
        [{"id": "q1", "query": "my parcel"}, {"id": "q2", "query": "My parcel?"}]
    ]


def test_an_faq_can_be_checked_before_there_are_queries(cli: Cli, write_faqs: WriteFaqs) -> None:
    run = cli("check", "--faqs", write_faqs())
    assert (run.status, run.err) == (0, "")
    assert "nothing to look at" in run.out
    assert set(cli("check", "--faqs", write_faqs(), "--json").json) == {
        "contradictions",
        "near_duplicates",
        "long_answers",
    }


def test_of_many_findings_five_are_printed_and_all_are_in_the_json(cli: Cli, write_faqs: WriteFaqs) -> None:
    faqs = write_faqs([(f"What is rule {n} {name}?", f"{name} " * 70) for n, name in enumerate("abcdefgh")])
    run = cli("check", "--faqs", faqs)
    assert "at 150 words a minute (8)." in run.out
    assert "… and 3 more" in run.out
    assert "70 words, 28 seconds" in run.out
    assert json.dumps(cli("check", "--faqs", faqs, "--json").json["long_answers"]).count('"words": 70') == 8
