"""Figures of several notebooks or widgets. Each colour has a marker or hatching, so they also work in greyscale."""

import base64
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.core.pylabtools import print_figure
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

STYLE = Path(__file__).with_suffix(".mplstyle")  # for `plt.style.use(plots.STYLE)`, once in each notebook

# Every colour has a contrast of at least 3:1 on white and on JupyterLab's dark background (#111111).
BLUE, ORANGE, GREY = "#0072b2", "#c2600c", "#7d8790"

RESULTS = {
    "answered right": (BLUE, ""),
    "clarified right": ("#4a95c9", "..."),
    "clarified wrong": ("#c77f1f", "\\\\"),
    "answered wrong": ("#b8420f", "///"),
    "declined": (GREY, ""),
}
"""Colour and hatching of the values of the column `result`, as `evaluation.evaluate` names them."""

_HUES = f"{BLUE} {ORANGE} #0f8f6b #c44e8a #8c6d4f #8a63d2 #1b8fa8 #b58a00 #d1495b #5b8e3f #6f7fc9 {GREY}"
CATEGORIES = list(zip(_HUES.split(), "os^Dv*PX<>ph", strict=True))
"""Colour and marker of each category, in no particular order."""


def show(figure: Figure, alt: str) -> HTML:
    """Return *figure* as a PNG for a notebook's cell, with *alt* for those who can't see it, and close it."""
    plt.close(figure)  # otherwise the notebook shows it a second time
    # As HTML, because neither JupyterLab nor nbconvert takes an alternative text from a PNG's metadata.
    png = base64.b64encode(print_figure(figure, bbox_inches=None, metadata={"Software": None})).decode()
    return HTML(f'<img alt="{escape(alt)}" src="data:image/png;base64,{png}" style="max-width: 100%">')


def result_bars(counts: pd.DataFrame, title: str) -> Figure:
    """Draw the shares of each row of *counts*, whose columns are `RESULTS`, as a bar."""
    figure, ax = plt.subplots(figsize=(9.0, 1.8 + 0.5 * len(counts)))
    shares = counts.div(counts.sum(axis=1), axis=0)
    left = shares.cumsum(axis=1) - shares
    names = [f"{name} ({total})" for name, total in counts.sum(axis=1).items()]
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
    for result, (colour, hatch) in RESULTS.items():
        look: Any = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        bars = ax.barh(names, shares[result], 0.62, left[result], label=result, **look)
        percent = [f"{share:.0%}" if share >= 0.04 else "" for share in shares[result]]
        ax.bar_label(bars, percent, label_type="center", fontsize=9, bbox=box)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share of the queries (in brackets: their number)", title=title)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
