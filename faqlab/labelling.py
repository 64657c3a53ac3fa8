"""Label questions in a notebook with the entries that answer them; `labelling.js` draws the widget."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from faqlab.errors import FaqlabError
from faqlab.faqs import Faq
from faqlab.improve import REPLIES
from faqlab.lookup_log import LookupRecord
from faqlab.queries import COLUMNS, NOT_A_QUESTION, REMEDY, append_row, read_rows, remove_row
from faqlab.retriever import Retriever
from faqlab.text import has_words, normalised, plain_text, write_text
from faqlab.widgets import Panel

SHOWN = 9  # entries beside a question: one for each digit
CONFUSABLE = 20  # entries to ask for before one of each category


class Labeller(anywidget.AnyWidget):
    """
    A widget that shows questions with the best entries, and saves in a queries file which of those are right.

    A label is in the file before the next question is shown. *asked* holds records of look-ups, or texts; what the file
    has already isn't shown. After the last one, or without any, the widget proposes what to ask. A missing file is
    made; FaqlabError if it can't be used.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    state = traitlets.Dict().tag(sync=True)  # what is left to label, and what is in the file
    proposed = traitlets.Any(()).tag(sync=True)  # the entries, in the order in which to ask for them

    def __init__(self, retriever: Retriever, path: Path | str, asked: Iterable[LookupRecord | str] = ()) -> None:
        super().__init__()
        self._retriever, self._path = retriever.with_config(top_k=SHOWN), Path(path).resolve()
        self._asked, self._lines = _questions(asked), list[str]()  # the lines that this widget has written
        if self._path.suffix.lower() == ".xlsx":
            raise FaqlabError(f"{path}: labels are added to CSV files only; save it as CSV and name that file.")
        if not self._path.exists():
            write_text(self._path, ",".join((*COLUMNS, "source")) + "\n", REMEDY)
        self._refresh()
        self.on_msg(self._on_message)

    __repr__ = Panel.__repr__

    def _on_message(self, _: object, message: dict[str, Any], __: object) -> None:
        reply: dict[str, Any] = {}
        try:
            if text := message.get("find"):
                hits = self._retriever.answer(text).hits[:SHOWN]
                reply = {"found": [_shown(hit.faq) for hit in hits], "for": text}
            elif row := message.get("save"):
                self._lines.append(append_row(self._path, row, self._retriever.faqs))
            elif self._lines:
                remove_row(self._path, self._lines[-1], self._retriever.faqs)
                self._lines.pop()
            self._refresh()
        except FaqlabError as error:
            reply = {"problem": str(error)}
        self.send(reply)

    def _refresh(self) -> None:
        rows = read_rows(self._path, self._retriever.faqs)
        known, labelled = {*rows["query"].map(normalised)}, rows[rows["kind"] != NOT_A_QUESTION]
        left = [question for key, question in self._asked.items() if key not in known]
        if not left:
            self.proposed = self.proposed or self._proposals()
        state = {"file": self._path.name, "asked": len(self._asked), "left": left, "undo": len(self._lines)}
        self.state = {**state, "labels": labelled[["relevant", "split"]].to_dict("records")}

    def _proposals(self) -> list[dict[str, str]]:
        """Return first the entries that are most similar to another, then one of each category, then the others."""
        faqs = self._retriever.faqs.entries
        similar = self._retriever.similarities([faq.question for faq in faqs])
        np.fill_diagonal(similar, -1)
        close = np.argsort(-similar.max(axis=1), kind="stable").tolist()
        categories = {faqs[n].category: n for n in reversed(close)}
        order = dict.fromkeys([*close[:CONFUSABLE], *categories.values(), *close])
        return [{**_shown(faqs[n]), "similar": faqs[similar[n].argmax()].question} for n in order]


def _shown(faq: Faq) -> dict[str, str]:
    return {"id": faq.id, "question": faq.question, "answer": plain_text(faq.answer)}


def _questions(asked: Iterable[LookupRecord | str]) -> dict[str, dict[str, str]]:
    """Return each question once, by its `normalised` text, with what its caller said of the answer."""
    questions: dict[str, dict[str, str]] = {}
    for one in asked:
        text, source = (one, "typed") if isinstance(one, str) else (one.query, f"call {one.id}")
        if has_words(text) and (isinstance(one, str) or one.reason not in REPLIES):
            question = questions.setdefault(normalised(text), {"text": text, "source": source})
            if not isinstance(one, str) and one.helpful is not None and (best := one.hits[:1]):
                verdict = "helpful" if one.helpful else "not helpful"
                question["note"] = f"The answer was “{best[0].get('question')}”, and the caller said: {verdict}."
    return questions
