"""
What nobody could answer: a simulated day of 200 calls, its unanswered questions in groups, and what new entries bring.

    python -m benchmarks.unanswered

In 160 calls, a labelled query is asked, in 40 a question on one of five topics of which the FAQ knows nothing
(`unanswered.json`). Every look-up goes through the agent's tool and a records folder, as in a call, but without audio.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from sklearn.metrics import adjusted_rand_score, v_measure_score

from benchmarks import command
from faqlab import evaluation, improve
from faqlab.conversation import Conversation
from faqlab.decision import Outcome
from faqlab.faqs import FaqSet
from faqlab.lookup_log import LookupLog, LookupRecord, load_records
from faqlab.queries import load_queries
from faqlab.retriever import Retriever
from faqlab.settings import settings
from faqlab.small_talk import SmallTalk
from faqlab.voice.agent import Lookups

TOPICS = Path(__file__).with_name("unanswered.json")
CALLS = 200
CHOICES = ("The first one.", "The second one.", "The third one.")
Topics = dict[str, dict[str, Any]]


def main(
    faqs: command.FaqsOption = None,
    queries: command.QueriesOption = None,
    config: command.ConfigOption = None,
    as_json: command.JsonOption = False,
) -> None:
    """Hold the calls of two days, group what wasn't answered, and add an entry for each topic of the first."""
    path, configuration = faqs or settings().faqs, command.read_config(config)
    retriever = Retriever.build(FaqSet.load(path), configuration)
    labelled = load_queries(queries or settings().queries, retriever.faqs)
    report = {name: report_day(retriever, labelled, topics) for name, topics in read_topics().items()}
    if as_json:
        command.print_json(report)
        return
    for name, day in report.items():
        command.typer.echo(f"\nThe {name} day")
        for title, rows in day.items():
            command.typer.echo(f"\n{title}\n{pd.DataFrame(rows).to_string(index=False, float_format='{:.3f}'.format)}")


def read_topics() -> dict[str, Topics]:
    """Return the topics of each day: an `answer`, and questions of the `day` and of `later`."""
    return json.loads(TOPICS.read_text(encoding="utf-8"))


def report_day(retriever: Retriever, labelled: pd.DataFrame, topics: Topics) -> dict[str, Any]:
    """Return the tables that are printed for one day, each as a list of rows."""
    with TemporaryDirectory() as folder:
        records = asyncio.run(hold_calls(retriever, choose_calls(labelled, topics), Path(folder)))
        asked = improve.unanswered(records)
        groups = improve.groups(asked, retriever)
        of_topic = {text: topic for topic, texts in topics.items() for text in texts["day"]}
        shown = groups[groups["callers"] > 1].drop(columns=["phrasings", "to"])
        added = add_entries(retriever, labelled, topics, groups, of_topic, Path(folder))
    return {
        "Unanswered": asked.value_counts("why").rename("questions").reset_index().to_dict("records"),
        "Groups of more than one caller": shown.to_dict("records"),
        "How good the groups are": [quality(groups, asked, of_topic)],
        "With an entry for each topic": added,
    }


def choose_calls(labelled: pd.DataFrame, topics: Topics) -> pd.DataFrame:
    """Return what callers ask, a row for each of the calls, in random order: `query` and `relevant`."""
    own = pd.DataFrame([{"query": text, "relevant": ()} for texts in topics.values() for text in texts["day"]])
    others = command.choose_queries(labelled, CALLS - len(own), seed=1)[["query", "relevant"]]
    return pd.concat([own, others]).sample(frac=1, random_state=1, ignore_index=True)


async def hold_calls(retriever: Retriever, calls: pd.DataFrame, folder: Path) -> tuple[LookupRecord, ...]:
    """
    Ask the query of each call in its own room, and return the records that were saved in *folder*.

    The callers choose a right entry where one is offered, say "none of those" where none is, and give a thumbs down to
    a wrong answer.
    """
    small_talk, log = SmallTalk.load(retriever.encoder), LookupLog(folder)
    for number, (query, relevant) in enumerate(calls[["query", "relevant"]].itertuples(index=False), start=1):
        lookups = Lookups(Conversation(retriever, small_talk), log, f"call-{number:03}")
        await lookups.look_up(query)
        answer = lookups.answer
        if answer and answer.outcome is Outcome.CLARIFY:
            offered = [hit.faq.id in relevant for hit in answer.hits[: len(answer.choices)]]
            await lookups.look_up(CHOICES[offered.index(True)] if any(offered) else "Neither.")
        lookups.log_pending()
        if answer and answer.answered and answer.hits[0].faq.id not in relevant:
            log.update(lookups.room, log.records[-1].id, helpful=False)
    return load_records(folder)


def quality(groups: pd.DataFrame, asked: pd.DataFrame, of_topic: dict[str, str]) -> dict[str, Any]:
    """
    Return how well the groups match the topics.

    `topics` and `questions` of them were unanswered, and stand in `groups`; `main groups` is the share of the questions
    in the group that has most of their topic, `strangers` are other questions in these groups. `ARI` and `V-measure`
    are over the topics' questions; `ARI, all` counts each of the other questions as a topic.
    """
    group = {text: n for n, texts in groups["phrasings"].items() for text in texts}
    table = asked[["query"]].drop_duplicates().assign(group=lambda of: of["query"].map(group))
    table["topic"] = table["query"].map(of_topic)
    own = table.dropna(subset="topic")
    main = own.groupby("topic")["group"].agg(lambda groups: groups.mode()[0])
    truth = table["topic"].fillna(table["query"])
    return {
        "topics": len(main),
        "questions": len(own),
        "groups": own["group"].nunique(),
        "main groups": (own["group"] == own["topic"].map(main)).mean(),
        "strangers": int((table["topic"].isna() & table["group"].isin(main)).sum()),
        "ARI": adjusted_rand_score(own["topic"], own["group"]),
        "V-measure": v_measure_score(own["topic"], own["group"]),
        "ARI, all": adjusted_rand_score(truth, table["group"]),
    }


def add_entries(
    retriever: Retriever,
    labelled: pd.DataFrame,
    topics: Topics,
    groups: pd.DataFrame,
    of_topic: dict[str, str],
    folder: Path,
) -> list[dict[str, Any]]:
    """
    Make an entry of the main group of the first topic, then of all topics, in a copy of the FAQ, and evaluate each.

    Only phrasings of the topic are taken, as an owner who reads them would do. Returns the rows of `judge`.
    """
    assert retriever.faqs.path
    path = folder / retriever.faqs.path.name
    shutil.copy(retriever.faqs.path, path)
    tests = labelled[(labelled["split"] == "test") | (labelled["split"] == "")].reset_index(drop=True)
    entries: dict[str, str] = {}
    rows = [judge("as it is", retriever, topics, entries, tests)]
    baseline = evaluation.evaluate(retriever, tests)
    for number, (topic, texts) in enumerate(topics.items(), start=1):
        of_groups = [[text for text in of if of_topic.get(text) == topic] for of in groups["phrasings"]]
        own = max(of_groups, key=len)
        [question, *_] = improve.add_phrasings(path, own, tests["query"], answer=texts["answer"])
        entries[topic] = FaqSet.load(path).entries[-1].id
        if number in (1, len(topics)):
            changed = Retriever.build(FaqSet.load(path), retriever.config)
            name = f"with {question!r}" if number == 1 else f"with {number} entries"
            p = evaluation.compare(evaluation.evaluate(changed, tests), baseline)["p"]
            rows.append({**judge(name, changed, topics, entries, tests), "p (hit@1)": p})
    return rows


def judge(
    name: str, retriever: Retriever, topics: Topics, entries: dict[str, str], tests: pd.DataFrame
) -> dict[str, Any]:
    """Return the figures of one FAQ, on later questions of the topics in *entries* (all, if none) and the *tests*."""
    later = [
        {"query": text, "relevant": (entries.get(topic, ""),)}
        for topic, texts in topics.items()
        if topic in entries or not entries
        for text in texts["later"]
    ]
    asked = pd.DataFrame(later).assign(id=lambda of: of.index.astype(str), kind="later", split="", answerable=True)
    new, old = evaluation.evaluate(retriever, asked), evaluation.summarise(evaluation.evaluate(retriever, tests))
    return {
        "FAQ": name,
        "later questions": len(asked),
        "right at once": (new["result"] == "answered right").mean(),
        "within two turns": new["two_turns"].mean(),
        "test: hit@1": old["value"]["hit@1"],
        "right at once ": old["value"]["right_at_once"],
        "wrong at once": old["value"]["wrong_at_once"],
        "out of scope: answered": old["value"]["false_answer_rate"],
    }


if __name__ == "__main__":
    command.run(main)
