"""
Controls in the notebooks, above a figure or table that follows them.

The kernel sends that as HTML, without threads or captured output, so that it works in JupyterLab and under nbmake.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from IPython import display
from ipywidgets import HTML, Button, Dropdown, FloatSlider, IntSlider, Layout, Text, Textarea, VBox

from faqlab import evaluation, improve, plots
from faqlab.calibration import Limits, thresholds
from faqlab.config import RetrievalConfig
from faqlab.decision import Outcome
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever

STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


class Panel(VBox):
    """Controls above what they choose; where widgets can't be shown, a line of text."""

    def __repr__(self) -> str:
        return "[a widget: open this notebook in JupyterLab and run its cells to use it]"


def panel(draw: Callable[..., display.HTML], *controls: Any) -> Panel:
    """Return *controls* above what *draw* makes of their values, or the sentence of its `FaqlabError`."""
    shown, message = HTML(), HTML()

    def redraw(_: object = None) -> None:
        try:
            shown.value = draw(*(control.value for control in controls)).data
            message.value = ""
        except FaqlabError as error:
            message.value = f"<b>{escape(str(error))}</b>"

    for control in controls:
        control.style, control.layout = {"description_width": "190px"}, Layout(width="min(100%, 700px)")
        control.continuous_update = False
        control.observe(redraw, "value")
    redraw()
    return Panel([*controls, message, shown])


def explorer(query: str, **retrievers: Retriever) -> Panel:
    """Return a box for a question and a slider for k, above what each of *retrievers* makes of the question."""

    def draw(typed: str, k: int) -> display.HTML:
        found = "".join(_explanation(name, of, typed, k) for name, of in retrievers.items())
        return display.HTML(f'<style>{STYLE}</style><div class="side-by-side">{found}</div>')

    most = min(20, *(len(of.faqs) for of in retrievers.values()))
    return panel(draw, query_box(query), IntSlider(min(5, most), 1, most, description="entries"))


def _explanation(name: str, retriever: Retriever, query: str, k: int) -> str:
    """Return as HTML what *retriever* decides, and how each of its parts rates the best *k* entries for *query*."""
    config, ranking = retriever.config, retriever.rank([query])[0]
    best, decision = ranking.entries[:k], f"{ranking.outcome} ({ranking.reason.replace('_', ' ')})"
    columns: dict[str, Any] = {"entry": [retriever.faqs.entries[n].question for n in best]}
    if ranking.outcome is Outcome.CLARIFY:
        columns["offered"] = ["yes" if place in ranking.offered else "" for place in range(len(best))]
    if config.scale is not None:
        columns["P(right)"] = ranking.scores[:k]
        decision += f"; P(FAQ has the answer) = {ranking.confidence:.2f}, P(first entry is right) = {ranking.first:.2f}"
    for weight, one in retriever.parts:
        columns[f"{weight:.0%} {one.config.encoder}"] = one.index.similarities(one.embed([query]))[0, best]
    if config.ngram_weight:
        columns["+ n-grams"] = config.ngram_weight * retriever.ngrams.cosines([query])[0, best]
    columns["squared L2"] = ranking.squared_l2[:k]
    return f"<div><p><b>{escape(name)}: {decision}</b></p>{table(columns).data}</div>"


def threshold_tuner(results: pd.DataFrame, config: RetrievalConfig, path: Path, limits: Limits) -> Panel:
    """Return sliders for limits above the *results* at the thresholds within them, and a button that saves those."""
    kept: dict[str, float] = {}
    shown = "decline below {decline_below:.2f}, answer from {scope_from:.2f} and {answer_from:.2f}"
    wrong = FloatSlider(limits.wrong, max=1, step=0.01, description="answered wrong, at most")
    false = FloatSlider(limits.false, max=1, step=0.01, description="out of scope answered, at most")
    declined = FloatSlider(limits.declined, max=1, step=0.01, description="answerable declined, at most")
    button, saved = Button(description="Save these thresholds", layout=Layout(width="200px")), HTML()

    def draw(wrong: float, false: float, declined: float) -> display.HTML:
        kept.update(thresholds(results, Limits(wrong, false, declined)))
        counts = evaluation.result_counts(evaluation.decide_again(results, **kept))
        title = shown.format(**kept).capitalize()
        return plots.show(plots.result_bars(counts, title), f"Shares of the five results: {title}")

    def save(_: Button) -> None:
        try:
            config.with_changes(**kept).save(path)
            saved.value = f"Saved to {escape(path.name)}: {shown.format(**kept)}. A rerun overwrites this."
        except FaqlabError as error:
            saved.value = f"<b>{escape(str(error))}</b>"

    button.on_click(save)
    tuner = panel(draw, wrong, false, declined)
    tuner.children = (*tuner.children, button, saved)
    return tuner


def improver(retriever: Retriever, proposals: pd.DataFrame, queries: pd.DataFrame) -> Panel:
    """
    Return boxes that add one of *proposals*, which are as `improve.groups` returns them, to the FAQ file.

    Below them is what that does to the labelled *queries*; none of the `test` split is added.
    """
    shape = {"layout": Layout(width="min(100%, 700px)"), "style": {"description_width": "190px"}}
    options = [(f"{n + 1}. {name}", n) for n, name in enumerate(proposals["name"])]
    chosen, to = Dropdown(options=options, description="questions", **shape), Dropdown(description="add to", **shape)
    phrasings = Textarea(description="phrasings, one a line", rows=5, **shape)
    answer = Textarea(description="answer, of a new entry", rows=4, **shape)
    button, message = Button(description="Add to the FAQ"), HTML()
    tests, latest = queries["query"][queries["split"] == "test"], [retriever]

    def show(_: object = None) -> None:
        if chosen.options:
            row = proposals.iloc[chosen.value]
            to.options = [(retriever.faqs[faq].question if faq else "a new entry", faq) for faq in row["to"]]
            to.index = 0
            phrasings.value = "\n".join(row["phrasings"])

    def add(_: Button) -> None:
        try:
            path = retriever.faqs.path or Path()
            added = improve.add_phrasings(path, phrasings.value.split("\n"), tests, to=to.value, answer=answer.value)
            latest.append(Retriever.build(FaqSet.load(path), retriever.config))
            effect = table(improve.effect(latest[-2], latest[-1], queries, to.value)).data
            message.value = f"Added to {escape(path.name)}: {escape('; '.join(added))}{effect}"
            answer.value = ""
        except FaqlabError as error:
            message.value = f"<b>{escape(str(error))}</b>"

    chosen.observe(show, "value")
    button.on_click(add)
    show()
    return Panel([chosen, to, phrasings, answer, button, message])


def query_box(query: str) -> Text:
    """Return a box for a question that begins with *query*."""
    return Text(query, description="question", placeholder="type a question, then press Enter")


def table(rows: pd.DataFrame | Mapping[str, Any] | Sequence[Any]) -> display.HTML:
    """Return *rows*, without their index, as HTML: text whole and left-aligned, numbers short, a dash for NaN."""
    if (rows := pd.DataFrame(rows)).empty:
        return display.HTML("<i>none</i>")
    styler = rows.style.hide(axis="index").format(_cell, na_rep="–", escape="html")
    styler.set_table_attributes('class="dataframe"').set_uuid("table")
    aligned: Any = [("text-align", "left"), ("vertical-align", "top"), ("max-width", "32em"), ("white-space", "normal")]
    styler.set_table_styles([{"selector": "th, td", "props": aligned}])
    return display.HTML(styler.to_html())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        if 0 < abs(value) < 0.0005:
            return "&lt; 0.001" if value > 0 else "&gt; -0.001"
        return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"
    return str(value)
