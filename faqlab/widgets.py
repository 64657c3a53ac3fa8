"""
What can be typed into and dragged in the notebooks: controls above a picture that follows them.

The picture is redrawn in the kernel and sent as a PNG, without threads or captured output, so that a widget runs in
JupyterLab and under nbmake alike and looks the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets
import pandas as pd
from IPython.display import HTML
from ipywidgets import FloatSlider, Image, IntSlider, Layout, Text, VBox
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from faqlab import evaluation, plots
from faqlab.calibration import Costs, cheapest
from faqlab.errors import FaqlabError
from faqlab.retriever import Retriever

WIDE = Layout(width="min(100%, 700px)")
LABELS = {"description_width": "90px"}
MOST_HITS = 20


class Panel(VBox):
    """Controls above a picture; where no widget can be shown, one line says what would be here."""

    def __repr__(self) -> str:
        return "[a widget: open this notebook in JupyterLab and run the cell to use it]"


def panel(draw: Callable[..., Figure], *controls: Any) -> Panel:
    """Return the *controls* above what *draw* makes of their values; what the user can mend is said in a sentence."""
    picture = Image(format="png", layout=Layout(max_width="100%", align_self="flex-start"))
    message = ipywidgets.HTML()

    def redraw(_: object = None) -> None:
        try:
            picture.value = plots.to_png(draw(*(control.value for control in controls)))
            message.value = ""
        except FaqlabError as error:
            message.value = f"<b>{escape(str(error))}</b>"

    for control in controls:
        control.observe(redraw, "value")
    redraw()
    return Panel([*controls, message, picture])


def table(rows: pd.DataFrame | Mapping[str, Any] | Sequence[Any]) -> HTML:
    """
    Return *rows* as an HTML table to be read: text to the left and whole, numbers short, what is missing a dash.

    Args:
        rows: A table (its index is not shown), columns by name, or a list of dictionaries or dataclasses.
    """
    styler = pd.DataFrame(rows).style.hide(axis="index").format(_cell, escape="html")
    styler.set_table_attributes('class="dataframe"').set_uuid("table")
    aligned: Any = [("text-align", "left"), ("vertical-align", "top"), ("max-width", "32em"), ("white-space", "normal")]
    styler.set_table_styles([{"selector": "th, td", "props": aligned}])
    return HTML(styler.to_html())


def _cell(value: Any) -> str:
    if value is None or pd.isna(value):
        return "–"
    if isinstance(value, float):
        if 0 < abs(value) < 0.0005:
            return "&lt; 0.001" if value > 0 else "&gt; -0.001"
        return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"
    return str(value)


def query_on_map(retriever: Retriever, plane: PCA, query: str) -> Panel:
    """Return a box for a question and the map on which it is placed."""
    return panel(lambda typed: draw_query_on_map(retriever, plane, typed), _query_box(query))


def draw_query_on_map(retriever: Retriever, plane: PCA, query: str) -> Figure:
    """Draw the entries in *plane*, *query* among them, joined with the three hits for it."""
    return plots.faq_map(
        plane.transform(retriever.index.vectors),
        [faq.category for faq in retriever.faqs],
        plane.explained_variance_ratio_,
        query=query,
        query_point=plane.transform(retriever.embed([query]))[0],
        nearest=[(retriever.faqs.position[hit.faq.id], hit) for hit in retriever.search(query, 3)],
    )


def explorer(retriever: Retriever, query: str, top_k: int = 5) -> Panel:
    """Return a box for a question and a slider for k, above the ranked answers and their distances."""
    most = min(MOST_HITS, len(retriever.faqs))
    slider = IntSlider(min(top_k, most), 1, most, description="answers", style=LABELS, layout=WIDE)

    def draw(typed: str, k: int) -> Figure:
        return plots.ranked_answers(typed, retriever.search(typed, k))

    return panel(draw, _query_box(query), slider)


def k_tuner(curve: pd.DataFrame, top_k: int) -> Panel:
    """Return a slider for k above the picture of `evaluation.hit_curve`."""
    most = int(curve["top_k"].max())
    slider = IntSlider(min(top_k, most), 1, most, description="k", style=LABELS, layout=WIDE)
    return panel(lambda k: plots.hit_curve(curve, k), slider)


def cost_tuner(results: pd.DataFrame, costs: Costs) -> Panel:
    """Return sliders for the costs above what becomes of the queries; *results* by `evaluation.evaluate`."""
    style = {"description_width": "170px"}
    wrong = FloatSlider(costs.wrong, min=1, max=10, step=0.5, description="a wrong answer costs", style=style)
    ask = FloatSlider(costs.ask, min=0, max=2, step=0.1, description="asking back costs", style=style)
    for slider in (wrong, ask):
        slider.layout, slider.continuous_update = WIDE, False

    def draw(wrong: float, ask: float) -> Figure:
        decline_below, answer_from, _ = cheapest(results, Costs(wrong, ask))
        again = evaluation.decide_again(results, decline_below, answer_from)
        title = (
            f"Declined where in scope is below {decline_below:.2f}, answered where the first is {answer_from:.2f} sure"
        )
        return plots.fates(evaluation.fates(again), title)

    return panel(draw, wrong, ask)


def _query_box(query: str) -> Text:
    return Text(
        query,
        description="question",
        placeholder="ask something, then press Enter",
        continuous_update=False,
        style=LABELS,
        layout=WIDE,
    )
