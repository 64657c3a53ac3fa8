"""From what callers asked in vain to a better FAQ: groups of questions, and what is added to the FAQ file."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage

from faqlab.decision import Outcome, Reason
from faqlab.errors import FaqlabError
from faqlab.evaluation import evaluate, result_shares
from faqlab.faqs import FaqSet, tidy_id
from faqlab.lookup_log import LookupRecord
from faqlab.retriever import Retriever
from faqlab.text import clean_query, has_words, is_blank, normalised, read_text, replace_surrogates, write_text

WHY = {Outcome.DECLINE: "declined", Outcome.CLARIFY: "clarified in vain", "failed": "failed"}
REPLIES = (Reason.CHOSEN, Reason.NO_CHOICE, Reason.REJECTED)  # to a clarifying question
FAR, FAR_ALONE = 0.55, 0.7  # mean cosine distance between groups, by both encoders or one: from `calibration.OTHERS`
LONG = 12  # words: stories and hesitations, which make no good question of an entry
SAME = 0.85  # `difflib` ratio from which two texts are one query, such as a typed one and its transcript


def unanswered(records: Iterable[LookupRecord]) -> pd.DataFrame:
    """
    Return the questions that got no answer, or one that didn't help: `query`, `room` and `why`.

    A clarifying question was in vain unless an entry that it offered answers what its caller says next. A reply such
    as "the second one" stands for the question before it.
    """
    rows: list[dict[str, Any]] = []
    latest: dict[str, dict[str, Any]] = {}  # the last question of each call
    for record in records:
        asked = latest.get(record.room, {"offered": ()})
        why = "not helpful" if record.helpful is False else WHY.get(record.outcome, "")
        ids = [hit.get("id") for hit in record.hits]
        if record.answered and any(best in asked["offered"] for best in ids[:1]):
            asked["why"] = why
        if record.reason not in REPLIES and has_words(record.query):
            rows.append({"query": record.query, "room": record.room, "why": why, "offered": ids[: len(record.choices)]})
            latest[record.room] = rows[-1]
    return pd.DataFrame([row for row in rows if row["why"]], columns=["query", "room", "why"])


def groups(asked: pd.DataFrame, retriever: Retriever) -> pd.DataFrame:
    """
    Group the questions that `unanswered` returns by meaning; those of the most callers come first.

    The columns are `name` (the question most similar to all of its group, if possible no `LONG` one), `questions` and
    `callers` (how many), `phrasings` (the questions, the name first), and `to`, where they may be added: "", for a new
    entry, and the ids of the five nearest entries.
    """
    vectors, labels = retriever.vectors([*map(clean_query, asked["query"])]), np.ones(len(asked))
    if len(asked) > 1:
        far = FAR if retriever.beside else FAR_ALONE
        labels = fcluster(linkage(vectors, "average", "cosine"), far, "distance")
    rows = []
    for inside in (labels == label for label in np.unique(labels)):
        long = asked["query"][inside].str.split().str.len() > LONG
        central = np.lexsort((-vectors[inside] @ vectors[inside].sum(axis=0), long))
        phrasings = asked["query"][inside].iloc[central].drop_duplicates().tolist()
        to = ["", *(retriever.faqs.ids[entry] for entry in retriever.rank(phrasings[:1])[0].entries[:5])]
        rows.append([phrasings[0], inside.sum(), asked["room"][inside].nunique(), phrasings, to])
    table = pd.DataFrame(rows, columns=["name", "questions", "callers", "phrasings", "to"])
    return table.sort_values(["callers", "questions"], ascending=False, kind="stable", ignore_index=True)


def add_phrasings(
    path: Path, phrasings: Iterable[str], tests: Iterable[str] = (), *, to: str = "", answer: str = ""
) -> list[str]:
    """
    Add *phrasings* to the entry *to* of an FAQ file, or as a new entry with *answer*; return those that were added.

    Left out are those that are in the FAQ, or (nearly) among the held-out queries *tests*. The first is a new entry's
    question, the others are alternatives. The file keeps its other fields and its layout. If there is nothing to add,
    or the file isn't exactly in our JSON format or can't be written, it stays as it was: FaqlabError.
    """
    before, faqs = read_text(path, "name your FAQ with FAQLAB_FAQS"), FaqSet.load(path)
    texts = (" ".join(replace_surrogates(text).replace("|", " ").split()) for text in phrasings)  # | would separate two
    new = {normalised(text): text for text in texts if has_words(text)}
    held_out = [*map(normalised, tests)]
    added = [new[key] for key in new if key not in faqs.phrasings and not get_close_matches(key, held_out, 1, SAME)]
    if not added or is_blank(to + answer):
        missing = "an answer" if added else "a phrasing that is neither in the FAQ nor a test query"
        raise FaqlabError(f"Nothing is saved: write {missing}.")
    remedy = f"`faqlab import {path.name} -o mine.json` writes it so, then set FAQLAB_FAQS=mine.json"
    refusal = FaqlabError(f"{path}: only an FAQ in our JSON format can be changed here; {remedy}.")
    try:
        data = json.loads(before)
        entries = {tidy_id(entry.get("id", n)): entry for n, entry in enumerate(data["questions"])}
        if to:
            entries[to]["alternatives"] = [*(entries[to].get("alternatives") or ()), *added]
        else:
            words = re.sub(r"\W+", "-", added[0].lower())[:40].strip("-")
            free = (name for n in count(len(faqs)) if (name := f"{words}-{n}") not in entries)
            named = {"id": next(free)} if any("id" in entry for entry in entries.values()) else {}
            entry = {**named, "question": added[0], "answer": answer.strip(), "alternatives": added[1:]}
            data["questions"].append(entry)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise refusal from None

    def check(new: Path) -> None:
        after = FaqSet.load(new)
        if after.phrasings != faqs.phrasings | dict.fromkeys(map(normalised, added), to or after.ids[-1]):
            raise refusal

    indent = re.search(r"\n([ \t]+)", before)
    text = json.dumps(data, ensure_ascii=before.isascii(), indent=indent and indent[1])
    write_text(path, text + before[len(before.rstrip()) :], "it's unchanged: check its permissions and the disk", check)
    return added


def effect(before: Retriever, after: Retriever, queries: pd.DataFrame, faq_id: str = "") -> pd.DataFrame:
    """
    Compare two retrievers on the *queries* of the entry *faq_id*, if it has some, and on those of others.

    No query judges itself: phrasings in the FAQ of *after* are left out.
    """
    fair = ~queries["query"].map(normalised).isin(after.faqs.phrasings)
    own = queries["relevant"].map(lambda ids: faq_id in ids)
    rows = {}
    for when, results in {"before": evaluate(before, queries), "after": evaluate(after, queries)}.items():
        for name, of in {"of this entry": results[fair & own], "of others": results[fair & ~own]}.items():
            if len(of):
                rows[f"{len(of)} {name}, {when}"] = {"hit@1": of["hit@1"].mean(), **result_shares(of)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("queries").reset_index()
