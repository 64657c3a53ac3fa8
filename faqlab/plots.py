"""
The notebooks' figures: tables and arrays in, matplotlib figures out.

One style for all. What is told by colour is told by lightness, marker or hatching too, so that a print in grey says
the same. Distances are squared L2 unless the axis says otherwise.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.decomposition import PCA

from faqlab.retriever import Hit

STYLE: Any = {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a dollar in an FAQ is a dollar
}

DARK, MIDDLE, PALE = "#16425b", "#e08e2b", "#cfd4d8"
"""Good, bad, neither: three lightnesses."""

FIRST = {"right": (DARK, "o", ""), "wrong": (MIDDLE, "s", "///"), "out of scope": (PALE, "D", "...")}
"""What the nearest entry was for a query: colour, marker, hatching."""

SYSTEM_MARKERS = [
    ("o", DARK),
    ("s", MIDDLE),
    ("^", "#7f8c94"),
    ("x", "#333333"),
    ("D", "#5b8e7d"),
    ("v", "#a3b8c2"),
    ("P", "#8a6d3b"),
]
LINES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]

FATE_COLOURS = [(DARK, ""), ("#7fa3b5", "..."), ("#e9d3b8", "\\\\"), (MIDDLE, "///"), (PALE, "")]
"""Of `evaluation.FATES`."""

CATEGORY_MARKERS = "os^Dv*PX<>ph"
QUESTION_WIDTH = 68

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Make *draw* draw in our style, and leave the caller's as it is."""

    @wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with plt.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def to_png(figure: Figure) -> bytes:
    """Return *figure* as a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def fit_plane(vectors: np.ndarray) -> PCA:
    """Return the plane that keeps the most of the spread of *vectors*; a single one is laid out against the origin."""
    return PCA(n_components=2).fit(vectors if len(vectors) > 1 else np.vstack([vectors, np.zeros_like(vectors)]))


@styled
def vector_strips(vectors: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draw each vector as a strip of its numbers, a strip a row, labelled above it."""
    figure, axes = _subplots(9.0, 0.4 + 0.85 * len(vectors), rows=len(vectors))
    limit = float(np.abs(vectors).max())
    for ax, vector, label in zip(axes, vectors, labels, strict=True):
        image = ax.imshow(vector[None], aspect="auto", cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set_title(_short(label, 100), fontweight="normal", fontsize=10, pad=4)
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.tick_params(labelbottom=ax is axes[-1], bottom=ax is axes[-1])
    axes[-1].set_xlabel("dimension")
    figure.colorbar(image, ax=list(axes), label="value", aspect=12, pad=0.01)
    return figure


@styled
def faq_map(
    points: np.ndarray,
    categories: Sequence[str],
    explained: Sequence[float],
    *,
    query: str = "",
    query_point: np.ndarray | None = None,
    nearest: Sequence[tuple[int, Hit]] = (),
) -> Figure:
    """
    Draw the FAQs in the plane, coloured by category, and a query among them if one is given.

    Args:
        points: Shape (entries, 2).
        categories: One an entry; all of them "" if the file names none.
        explained: The share of the variance along each axis.
        query: What was asked.
        query_point: Where it falls, shape (2,).
        nearest: The hits to be joined with the query by lines: entry number and hit.
    """
    figure, (ax,) = _subplots(8.6, 6.2)
    for n, (name, members) in enumerate(_by_category(categories)):
        colour = plt.get_cmap("viridis")(n / max(len(set(categories)) - 1, 1) * 0.85)
        marker = CATEGORY_MARKERS[n % len(CATEGORY_MARKERS)]
        ax.scatter(
            points[members, 0],
            points[members, 1],
            color=colour,
            marker=marker,
            s=110 if marker == "*" else 52,
            label=name,
            edgecolor="white",
            linewidth=0.5,
        )
    ax.set_xlabel(f"first principal component ({explained[0]:.0%} of the variance)")
    ax.set_ylabel(f"second principal component ({explained[1]:.0%} of the variance)")
    ax.set_title(f"{len(points)} questions, flattened to the plane that keeps the most of their spread")
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    if query_point is not None:
        _place_query(figure, ax, points, query, query_point, nearest)
    return figure


@styled
def three_scales() -> Figure:
    """Draw squared L2 and L2 over cosine similarity, for unit vectors."""
    cosine = np.linspace(-1, 1, 201)
    figure, (ax,) = _subplots(7.5, 3.6)
    ax.plot(cosine, 2 - 2 * cosine, color=DARK, linewidth=2)
    ax.plot(cosine, np.sqrt(2 - 2 * cosine), color=MIDDLE, linewidth=2, linestyle="--")
    ax.annotate("squared L2 (what FAISS returns)", (-0.55, 3.1), xytext=(8, 4), textcoords="offset points", color=DARK)
    ax.annotate("L2", (-0.75, np.sqrt(3.5)), xytext=(0, -16), textcoords="offset points", color="#8a5313")
    ax.set(xlabel="cosine similarity", ylabel="distance (no unit)", title="All three fall or rise together")
    ax.grid(True)
    return figure


@styled
def neighbour_distances(nearest: np.ndarray, everything: np.ndarray) -> Figure:
    """Draw how far each entry's nearest neighbour is, above how far any two entries are (squared L2)."""
    figure, axes = _subplots(8.0, 4.2, rows=2, sharex=True)
    bins = np.linspace(0, max(float(everything.max(initial=0)), 0.1), 41).tolist()
    for ax, values, title, unit, colour in [
        (axes[0], nearest[np.isfinite(nearest)], "From each question to its nearest other", "questions", DARK),
        (axes[1], everything, "Between any two questions", "pairs", PALE),
    ]:
        median = float(np.median(values)) if len(values) else float("nan")
        ax.hist(values, bins, color=colour, edgecolor="#9aa3a9", linewidth=0.5)
        ax.axvline(median, color="black", linestyle=":")
        ax.set(title=f"{title}: median {median:.2f}" if len(values) else f"{title}: there is only one", ylabel=unit)
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[1].set_xlabel("squared L2 distance (0: the same; 4: opposite)")
    return figure


@styled
def distance_matrix(squared_l2: np.ndarray, categories: Sequence[str]) -> Figure:
    """Draw every entry against every other; entries of one category stand together. *categories* as sorted."""
    figure, (ax,) = _subplots(8.4, 7.4)
    image = ax.imshow(
        squared_l2, cmap="gray", vmin=0, interpolation="nearest" if len(squared_l2) < 500 else "antialiased"
    )
    starts = [n for n, name in enumerate(categories) if n == 0 or name != categories[n - 1]]
    if len(starts) > 1:
        middles = [(start + end - 1) / 2 for start, end in zip(starts, [*starts[1:], len(categories)], strict=True)]
        names = [categories[start] or "no category" for start in starts]
        ax.set_xticks(middles, names, rotation=90)
        ax.set_yticks(middles, names)
        for start in starts[1:]:
            ax.axhline(start - 0.5, color=MIDDLE, linewidth=0.7)
            ax.axvline(start - 0.5, color=MIDDLE, linewidth=0.7)
        ax.tick_params(length=0)
    else:
        ax.set(xlabel="entry, in the file's order", ylabel="entry, in the file's order")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[:].set_visible(False)
    ax.set_title(f"{len(squared_l2)} × {len(squared_l2)} distances: the darker, the easier to confuse")
    figure.colorbar(image, ax=ax, label="squared L2 distance", shrink=0.8)
    return figure


@styled
def first_distances(results: pd.DataFrame) -> Figure:
    """Draw how far the nearest entry was, one histogram each for the values of *results*' column `first`."""
    groups = [name for name in FIRST if (results["first"] == name).any()]
    figure, axes = _subplots(8.0, 0.8 + 1.5 * len(groups), rows=len(groups), sharex=True, sharey=True)
    top = max(2.0, float(results["squared_l2"].max()))
    bins = np.arange(0, top + 0.1, 0.1).tolist()
    for ax, name in zip(axes, groups, strict=True):
        values = results.loc[results["first"] == name, "squared_l2"].to_numpy()
        colour, _, hatch = FIRST[name]
        ax.hist(values, bins, color=colour, hatch=hatch, edgecolor="white" if name != "out of scope" else "#8b959c")
        ax.axvline(float(np.median(values)), color="black", linestyle=":")
        ax.set_title(f"{name}: {len(values)} queries, median {np.median(values):.2f}")
        ax.set_ylabel("queries")
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes[-1].set_xlabel("squared L2 distance from the query to its nearest question")
    return figure


@styled
def share_by_distance(results: pd.DataFrame, width: float = 0.2) -> Figure:
    """Draw what the nearest entry was (column `first`), as shares, for each *width* of squared L2 distance."""
    band = np.floor(results["squared_l2"] / width).astype(int)
    counts = pd.crosstab(band, results["first"]).reindex(columns=list(FIRST), fill_value=0)
    counts = counts.reindex(range(counts.index.min(), counts.index.max() + 1), fill_value=0)
    totals = counts.sum(axis=1)
    shares = counts.div(totals.where(totals > 0), axis=0).fillna(0)
    figure, (ax,) = _subplots(8.0, 4.0)
    left = counts.index.to_numpy() * width
    bottom = np.zeros(len(counts))
    for name, (colour, _, hatch) in FIRST.items():
        if counts[name].any():
            height = shares[name].to_numpy()
            ax.bar(
                left,
                height,
                width * 0.94,
                bottom,
                align="edge",
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label=name,
            )
            bottom = bottom + height
    for x, total in zip(left, totals, strict=True):
        ax.annotate(str(total), (x + width * 0.47, 1.01), ha="center", va="bottom", color="#555555")
    ax.set(
        xlabel="squared L2 distance from the query to its nearest question",
        ylabel="share of the queries",
        ylim=(0, 1.1),
    )
    ax.set_xticks(np.append(left, left[-1] + width).round(6))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_yticks(np.linspace(0, 1, 5))
    ax.set_title("What the nearest question was worth (above: how many queries)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def ranked_answers(query: str, hits: Sequence[Hit]) -> Figure:
    """Draw the *hits* for *query* as bars, best on top."""
    figure, (ax,) = _subplots(9.0, 1.5 + 0.4 * len(hits))
    distances = np.array([hit.squared_l2 for hit in hits])
    rows = np.arange(len(hits))
    ax.barh(rows, distances, color=DARK, height=0.62)
    for row, distance in zip(rows, distances, strict=True):
        ax.annotate(f"{distance:.2f}", (distance, row), xytext=(4, 0), textcoords="offset points", va="center")
    ax.set_yticks(rows, [f"{hit.rank}. {_short(hit.faq.question, QUESTION_WIDTH)}" for hit in hits])
    ax.invert_yaxis()
    ax.set_xlim(0, max(2.0, float(distances.max()) * 1.1))
    ax.set_xlabel("squared L2 distance (shorter is nearer)")
    figure.suptitle(_quoted(query), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


@styled
def intervals(
    tables: Mapping[str, pd.DataFrame], measures: Sequence[str], title: str, xlabel: str = "value, 0 to 1"
) -> Figure:
    """
    Draw measures with their 95 % intervals, the systems side by side.

    Args:
        tables: System to its summary: index measure, columns `value`, `low`, `high`.
        measures: Which ones, top to bottom.
        title: What is to be seen.
        xlabel: What the numbers are.
    """
    figure, (ax,) = _subplots(8.0, 1.2 + 0.17 * (len(tables) + 1) * len(measures))
    for system, rows, marker, colour in _systems_side_by_side(ax, list(tables), measures):
        shown = tables[system].reindex(list(measures))
        reach = np.abs(shown[["low", "high"]].to_numpy().T - shown["value"].to_numpy())
        ax.errorbar(shown["value"], rows, xerr=reach, fmt=marker, color=colour, capsize=3, label=system)
    ax.set(xlabel=f"{xlabel} (bar: 95 % interval)", title=title)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def hit_curve(curve: pd.DataFrame, top_k: int | None = None) -> Figure:
    """Draw hit@k over k with its intervals; mark the *top_k* chosen."""
    figure, (ax,) = _subplots(7.5, 4.0)
    ax.fill_between(
        curve["top_k"], curve["low"], curve["high"], color=PALE, alpha=0.6, label="95 % interval", linewidth=0
    )
    ax.plot(curve["top_k"], curve["value"], color=DARK, marker="o", label="hit@k")
    if top_k is not None and top_k in set(curve["top_k"]):
        value = float(curve.set_index("top_k")["value"][top_k])
        ax.scatter([top_k], [value], s=170, facecolor="none", edgecolor=MIDDLE, linewidth=2.2, zorder=4)
        ax.annotate(f"chosen: {top_k}", (top_k, value), xytext=(8, -18), textcoords="offset points")
    ax.set(xlabel="k, entries handed to the model", ylabel="queries with a right entry among them", ylim=(0, 1.02))
    ax.set_title("The more entries, the more often a right one is among them")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(True)
    ax.legend(loc="lower right")
    return figure


@styled
def context_cost(costs: pd.DataFrame) -> Figure:
    """Draw the words that each k sends to the model: columns `top_k`, `words` (mean), `low`, `high` (5 % and 95 %)."""
    figure, (ax,) = _subplots(7.5, 3.4)
    ax.bar(costs["top_k"], costs["words"], color=PALE, edgecolor="#9aa3a9", width=0.7)
    reach = np.abs(costs[["low", "high"]].to_numpy().T - costs["words"].to_numpy())
    ax.errorbar(costs["top_k"], costs["words"], yerr=reach, fmt="none", color=DARK, capsize=3)
    ax.set(xlabel="k, entries handed to the model", ylabel="words a question")
    ax.set_title("What each k sends to the model (mean; bar: 5 % to 95 % of the queries)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(True, axis="y")
    return figure


@styled
def trade_off(curves: Mapping[str, pd.DataFrame], answer_rate: float | None = None) -> Figure:
    """
    Draw answer rate over false-answer rate, a line a system and a point a threshold.

    Args:
        curves: System to its `evaluation.threshold_curve`.
        answer_rate: Marked by a line across.
    """
    figure, (ax,) = _subplots(7.0, 5.0)
    ax.plot([0, 1], [0, 1], color="#9aa3a9", linestyle=":", label="chance")
    for n, (system, curve) in enumerate(curves.items()):
        line, colour = LINES[n % len(LINES)], SYSTEM_MARKERS[n % len(SYSTEM_MARKERS)][1]
        ax.plot(
            curve["false_answer_rate"], curve["answer_rate"], color=colour, linestyle=line, linewidth=2, label=system
        )
    if answer_rate is not None:
        ax.axhline(answer_rate, color="black", linewidth=0.8)
        ax.annotate(f"{answer_rate:.0%} answered", (1, answer_rate), ha="right", va="bottom")
    ax.set(xlabel="out-of-scope queries answered (false answers)", ylabel="answerable queries answered")
    ax.set_title("Every answer won has its price in false ones")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(True)
    ax.legend(loc="lower right")
    return figure


@styled
def reliability(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw what came true over what was predicted, a panel each; *tables* by `calibration.reliability`."""
    figure, axes = plt.subplots(1, len(tables), figsize=(4.6 * len(tables), 4.3), squeeze=False)
    plt.close(figure)
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="#9aa3a9", linestyle=":")
        ax.plot(table["predicted"], table["observed"], color=DARK, marker="o")
        for row in table.itertuples():
            ax.annotate(
                str(row.queries), (row.predicted, row.observed), xytext=(6, -10), textcoords="offset points", fontsize=8
            )
        ax.set(xlabel="probability, as computed", ylabel="share that came true", title=name, aspect="equal")
        ax.grid(True)
    return figure


@styled
def fates(counts: pd.DataFrame, title: str) -> Figure:
    """Draw the *counts* of `evaluation.fates` as shares: one bar for the answerable, one for the out of scope."""
    figure, (ax,) = _subplots(9.0, 1.8 + 0.6 * len(counts))
    shares = counts.div(counts.sum(axis=1), axis=0)
    left = np.zeros(len(counts))
    for name, (colour, hatch) in zip(counts, FATE_COLOURS, strict=True):
        width = shares[name].to_numpy()
        ax.barh(shares.index, width, left=left, color=colour, hatch=hatch, edgecolor="white", label=name, height=0.62)
        for row, (start, share) in enumerate(zip(left, width, strict=True)):
            if share >= 0.04:
                box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
                ax.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=9, bbox=box)
        left = left + width
    ax.set_yticks(range(len(counts)), [f"{name} ({total})" for name, total in counts.sum(axis=1).items()])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("share of the queries")
    ax.set_title(title)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def fate_areas(curve: pd.DataFrame, threshold: float, xlabel: str) -> Figure:
    """Draw `evaluation.fate_curve` as areas, a panel for each scope, and the *threshold* chosen."""
    scopes = curve.index.unique("scope")
    figure, axes = plt.subplots(1, len(scopes), figsize=(9, 4.3), sharey=True, squeeze=False)
    plt.close(figure)
    for ax, scope in zip(axes[0], scopes, strict=True):
        shares = curve.xs(scope, level="scope")
        areas = ax.stackplot(shares.index, shares.T, labels=list(shares), edgecolor="white", linewidth=0.5)
        for area, (colour, hatch) in zip(areas, FATE_COLOURS, strict=True):
            area.set(facecolor=colour, hatch=hatch)
        ax.axvline(threshold, color="black", linewidth=1.5)
        ax.annotate(f" {threshold:.2f}", (threshold, 1.0), va="bottom", annotation_clip=False)
        ax.set(xlabel=xlabel, xlim=(0, 1), ylim=(0, 1))
        ax.set_title(scope, pad=18)
    axes[0][0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[0][0].set_ylabel("share of the queries")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def by_kind(tables: Mapping[str, pd.DataFrame], measure: str, title: str) -> Figure:
    """Draw one measure for each kind of query, the systems side by side; *tables* by `evaluation.by_kind`."""
    first = next(iter(tables.values()))
    kinds = first.index[first[measure].notna()]
    figure, (ax,) = _subplots(8.0, 1.3 + 0.14 * (len(tables) + 1) * len(kinds))
    labels = [f"{kind} ({first['queries'][kind]})" for kind in kinds]
    for system, rows, marker, colour in _systems_side_by_side(ax, list(tables), labels):
        ax.plot(tables[system].reindex(kinds)[measure], rows, marker, color=colour, markersize=8, label=system)
    ax.set_xlim(-0.03, 1.03)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel=f"{measure} (in brackets: how many queries)", title=title)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def counts(series: pd.Series, title: str, xlabel: str = "queries") -> Figure:
    """Draw *series* as bars with their numbers, in its order."""
    figure, (ax,) = _subplots(8.0, 1.1 + 0.38 * len(series))
    bars = ax.barh(range(len(series)), series.to_numpy(), color=DARK, height=0.65)
    ax.bar_label(bars, padding=4)
    ax.set_yticks(range(len(series)), [str(name) for name in series.index])
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(x=0.08)
    ax.set(xlabel=xlabel, title=title)
    return figure


def _subplots(
    width: float, height: float, *, rows: int = 1, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of inches and its axes, top to bottom; closed, so that a notebook shows it once."""
    figure, axes = plt.subplots(rows, figsize=(width, height), sharex=sharex, sharey=sharey, squeeze=False)
    plt.close(figure)
    return figure, list(axes[:, 0])


def _systems_side_by_side(
    ax: Axes, systems: Sequence[str], labels: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, str, str]]:
    """Rule a band for each of *labels*, top to bottom; yield each system's heights in them, marker and colour."""
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(True, axis="x")
    for band in range(1, len(labels)):
        ax.axhline(band - 0.5, color="#e3e3e3", linewidth=0.8)
    for n, system in enumerate(systems):
        away = (n - (len(systems) - 1) / 2) / (len(systems) + 1.1)
        yield system, np.arange(len(labels)) + away, *SYSTEM_MARKERS[n % len(SYSTEM_MARKERS)]


def _by_category(categories: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return each category's name and members, the largest first; past twelve, the smallest become one."""
    members: dict[str, list[int]] = {}
    for n, name in enumerate(categories):
        members.setdefault(name, []).append(n)
    if list(members) == [""]:
        return [("FAQ", members[""])]
    groups = [(name or "no category", entries) for name, entries in members.items()]
    groups.sort(key=lambda group: -len(group[1]))
    most = len(CATEGORY_MARKERS)
    if len(groups) > most:
        rest = [entry for _, entries in groups[most - 1 :] for entry in entries]
        groups = [*groups[: most - 1], (f"{len(groups) - most + 1} smaller ones", rest)]
    return groups


def _place_query(
    figure: Figure, ax: Axes, points: np.ndarray, query: str, at: np.ndarray, nearest: Sequence[tuple[int, Hit]]
) -> None:
    lines = [f"★ {_quoted(query)}"]
    for entry, hit in nearest:
        ax.plot(*np.stack([at, points[entry]]).T, color="black", linewidth=1, zorder=1)
        away = points[entry] - at
        away = 13 * away / max(float(np.linalg.norm(away)), 1e-9)  # the number stands beyond its entry
        halo = patheffects.withStroke(linewidth=3, foreground="white")
        ax.annotate(
            str(hit.rank),
            tuple(points[entry]),
            xytext=tuple(away),
            textcoords="offset points",
            ha="center",
            va="center",
            fontweight="bold",
            path_effects=[halo],
            zorder=6,
        )
        lines.append(f"{hit.rank}  {_short(hit.faq.question, 90)}  (squared L2 {hit.squared_l2:.2f})")
    ax.scatter(at[0], at[1], marker="*", s=230, color=MIDDLE, edgecolor="black", linewidth=1.0, zorder=5)
    ax.set_title("\n".join(lines), fontweight="normal", fontsize=10)


def _quoted(query: str) -> str:
    return textwrap.fill(_short(f"“{query}”", 300), 100)


def _short(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder=" …") if len(text) > width else text
