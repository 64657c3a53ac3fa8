"""One caller's turns."""

from __future__ import annotations

from faqlab.retriever import Answer, Retriever


class Dialogue:
    """
    One caller's turns over one retriever. Not shared between callers.

    Attributes:
        retriever: Looks the questions up.
    """

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever

    def ask(self, query: str) -> Answer:
        """
        Look *query* up. Each turn stands by itself: nothing asks back yet.

        Raises:
            FaqlabError: the query holds nothing to look up.
        """
        return self.retriever.answer(query)
