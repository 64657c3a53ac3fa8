"""BM25, the standard keyword search, for comparison."""

from __future__ import annotations

import bm25s
import numpy as np
import pandas as pd

from faqlab.evaluation import judge
from faqlab.faqs import FaqSet


def evaluate_bm25(faqs: FaqSet, queries: pd.DataFrame) -> pd.DataFrame:
    """Rank by BM25 over all texts of an entry; as `evaluate`, with every query answered and the score as confidence."""

    def words(texts: list[str]) -> list[list[str]]:
        return bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)

    index = bm25s.BM25()
    corpus = words([" ".join([faq.question, *faq.alternatives, faq.answer]) for faq in faqs])
    if any(corpus):
        index.index(corpus, show_progress=False)
    scores = np.zeros((len(queries), len(faqs)))
    for row, query in enumerate(words(queries["query"].tolist())):
        if query and any(corpus):
            scores[row] = index.get_scores(query)
    order = np.argsort(-scores, axis=1, kind="stable")
    return judge(queries, [tuple(faqs.ids[n] for n in row) for row in order], scores.max(axis=1))
