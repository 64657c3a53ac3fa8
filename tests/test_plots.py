"""The figures draw what they are given, also from the small and odd files that people bring."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from faqlab import evaluation, plots

COUNTS = pd.DataFrame([[3, 1, 0, 1, 0], [0, 0, 1, 0, 4]], ["answerable", "out of scope"], list(evaluation.RESULTS))


@pytest.fixture(autouse=True)
def in_the_notebooks_style() -> Iterator[None]:
    with plt.style.context(plots.STYLE):
        yield
    plt.close("all")


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def contrast(colour: str, background: str) -> float:
    """The contrast ratio of WCAG 2."""
    light = [
        float(
            np.dot([0.2126, 0.7152, 0.0722], [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb])
        )
        for rgb in (to_rgb(colour), to_rgb(background))
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_every_colour_stands_out_on_white_and_on_jupyterlabs_dark_background() -> None:
    colours = {colour for colour, _ in [*plots.RESULTS.values(), *plots.CATEGORIES]}
    assert [c for c in colours if min(contrast(c, "#ffffff"), contrast(c, "#111111")) < 3] == []


def test_every_result_and_category_has_a_look_of_its_own() -> None:
    assert list(plots.RESULTS) == list(evaluation.RESULTS)
    for looks in (plots.RESULTS.values(), plots.CATEGORIES):
        assert len(set(looks)) == len(list(looks))


def test_a_figure_becomes_a_png_that_is_always_the_same_and_is_closed() -> None:
    first, second = (plots.show(plots.result_bars(COUNTS, "title"), "alt").data for _ in range(2))
    assert first == second
    assert not plt.get_fignums()


def test_a_picture_has_its_alternative_text_escaped() -> None:
    html = plots.show(plots.result_bars(COUNTS, "title"), 'a "curve" & more').data
    assert 'alt="a &quot;curve&quot; &amp; more"' in html
    assert 'src="data:image/png;base64,iVBOR' in html


def test_dollars_in_an_faq_are_not_read_as_formulas() -> None:
    figure = plots.result_bars(COUNTS, "What do I get for $20^_ or $30?")
    assert plots.show(figure, "alt")  # as a formula, 20^_ can't be drawn
    assert "for $20^_ or $30?" in texts(figure)


def test_shares_add_up_to_one_and_numbers_of_queries_are_named() -> None:
    figure = plots.result_bars(COUNTS, "title")
    (ax,) = figure.axes
    assert max(bar.get_x() + bar.get_width() for bar in ax.patches) == pytest.approx(1)
    assert "answerable (5)" in texts(figure)
