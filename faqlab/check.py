"""What may be wrong with an FAQ and its labelled queries: findings for a person to judge."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from faqlab.evaluation import evaluate
from faqlab.retriever import Retriever, facts
from faqlab.text import clean_query, normalised, plain_text

NEAR, OF_QUESTIONS = 0.8, 0.3
"""From this similarity on, two entries are near duplicates; their questions' has this weight, their answers' the rest.
In 58 FAQs in which no two entries ask the same, 15 pairs are; of 26 pairs that do ask the same, 20."""

LONG = 60  # words; a longer answer takes more than 24 seconds at 150 words a minute


def check(retriever: Retriever, queries: pd.DataFrame | None = None) -> dict[str, list[Any]]:
    """Return what was found in the FAQ of *retriever*, and in *queries* as `load_queries` returns them, by its name."""
    faqs = retriever.faqs
    found: dict[str, list[Any]] = {"contradictions": [], "near_duplicates": []}
    questions, answers = ([faq.question for faq in faqs], [faq.answer for faq in faqs])
    asked, said = retriever.vectors([*map(clean_query, questions)]), retriever.vectors(answers)
    similar = OF_QUESTIONS * asked @ asked.T + (1 - OF_QUESTIONS) * said @ said.T
    for one, other in np.argwhere(np.triu(similar, k=1) >= NEAR):
        if facts(questions[one]) == facts(questions[other]):  # not "more than 30 days ahead" and "8 to 30 days ahead"
            name = "near_duplicates" if facts(answers[one]) == facts(answers[other]) else "contradictions"
            found[name].append([asdict(faqs.entries[n]) for n in (one, other)])
    words = {faq: len(plain_text(faq.answer).split()) for faq in faqs}
    found["long_answers"] = [asdict(faq) | {"words": n} for faq, n in words.items() if n > LONG]
    if queries is None:
        return found
    by_letters = retriever.with_config(ngram_weight=10.0)  # the similarity only decides between equals
    searches = [evaluate(of, queries) for of in (retriever, Retriever.build(faqs), by_letters)]
    best = max(1, min(10, len(faqs) // 4))  # of a short FAQ, ten entries would be all
    missed = searches[0][np.all([of["mrr"] < 1 / (best + 0.5) for of in searches], axis=0)]
    missed = missed.sort_values("first", ascending=False)  # the surer another entry is, the likelier the label is wrong
    labelled = {faq_id for relevant in queries["relevant"] for faq_id in relevant}
    normal = queries["query"].map(normalised)
    twice = queries[queries.groupby(normal)["split"].transform("nunique") > 1]
    return found | {
        "without_queries": [asdict(faq) for faq in faqs if faq.id not in labelled],
        "labels_not_found": missed[["id", "query", "relevant", "found"]].to_dict("records"),
        "in_both_splits": [of[["id", "query"]].to_dict("records") for _, of in twice.groupby(normal, sort=False)],
    }
