"""The labelling widget in a real JupyterLab: by mouse, by keyboard, and after the kernel was killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from conftest import WriteFaqs
from playwright.sync_api import Browser, Locator, Page, expect

from benchmarks.browser import browser, find_or_install
from faqlab.settings import PROJECT_ROOT

PATIENCE_MS = 120_000
expect.set_options(timeout=PATIENCE_MS)

ASKED = [
    "my parcel isn't here",
    "can I pay in instalments by card",
    "what's the weather",
    "hello hello",
    "do shoes go back or abroad",
    "shipping to Norway",
    "sending back shoes",
    "tell me a joke",
    "um okay",
    "where has my order got to",
]
CELL = f"""
from pathlib import Path
from faqlab.faqs import FaqSet
from faqlab.labelling import Labeller
from faqlab.retriever import Retriever
from faqlab.lookup_log import LookupRecord

calls = [LookupRecord(query, "a-room", None) for query in {ASKED}]
Labeller(Retriever.build(FaqSet.load("mine.json")), "mine.csv", calls)
"""
AXE = """axe.run(".faqlab-labels", {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    .then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes[0].html}`))"""


@pytest.fixture
def lab(tmp_path: Path, cache_dir: Path, write_faqs: WriteFaqs) -> Iterator[tuple[psutil.Process, str]]:
    """JupyterLab on a notebook with the widget and a small FAQ: its process, and the notebook's address."""
    write_faqs(name="work/mine.json")
    cells = [nbformat.v4.new_code_cell(CELL)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "work/label.ipynb")
    command = [sys.executable, "-m", "jupyterlab", "--config=.jupyter/lab.py", "--port=0", "--no-browser"]
    command += [f"--ServerApp.root_dir={tmp_path / 'work'}", "--LabApp.expose_app_in_browser=True"]
    command += [f"--LabApp.{name}_dir={tmp_path / name}" for name in ("workspaces", "user_settings")]
    python_path = os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": python_path, "FAQLAB_CACHE_DIR": str(cache_dir)}
    log = tmp_path / "lab.log"
    with log.open("w") as stderr, subprocess.Popen(command, cwd=PROJECT_ROOT, env=env, stderr=stderr) as process:
        try:
            while not (link := re.search(r"(http://127\.0\.0\.1:\d+)/lab/\S*\?token=(\w+)", log.read_text())):
                assert process.poll() is None, log.read_text()
            yield psutil.Process(process.pid), f"{link[1]}/lab/tree/label.ipynb?token={link[2]}"
        finally:
            process.terminate()


@pytest.fixture
def launched() -> Iterator[Browser]:
    with browser(find_or_install()) as launched:
        yield launched


def run(launched: Browser, address: str) -> tuple[Page, Locator]:
    """Open the notebook and run it: the page and the widget."""
    page = launched.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.evaluate("void jupyterapp.commands.execute('runmenu:run-all')")
    widget = page.locator(".faqlab-labels")
    widget.wait_for()
    return page, widget


def entry(widget: Locator, text: str) -> Locator:
    return widget.get_by_role("listitem").filter(has_text=text)


def number(widget: Locator, text: str) -> str:
    """The key of an entry."""
    return entry(widget, text).locator("kbd").inner_text()


def labels(folder: Path) -> list[tuple[str, str, str]]:
    table = pd.read_csv(folder / "mine.csv", keep_default_na=False)
    return list(table[["query", "relevant", "kind"]].itertuples(index=False, name=None))


def test_ten_questions_are_labelled_by_mouse_and_keyboard_and_a_killed_kernel_loses_none(
    lab: tuple[psutil.Process, str], launched: Browser, tmp_path: Path
) -> None:
    jupyter, address = lab
    page, widget = run(launched, address)
    asked = widget.get_by_role("heading")

    expect(asked).to_have_text(ASKED[0])
    entry(widget, "Where is my parcel?").get_by_role("button").click()
    expect(asked).to_have_text(ASKED[1])
    entry(widget, "How do I pay?").get_by_role("button").click()
    expect(asked).to_have_text(ASKED[2])
    widget.get_by_role("button", name="None: out of scope").click()
    expect(asked).to_have_text(ASKED[3])
    entry(widget, "How do I pay?").get_by_role("button").click()
    expect(asked).to_have_text(ASKED[4])
    widget.get_by_role("button", name="Undo").click()
    expect(asked).to_have_text(ASKED[3])
    widget.get_by_role("button", name="Not a question").click()
    expect(asked).to_have_text(ASKED[4])
    entry(widget, "Can I return shoes?").get_by_role("checkbox").check()
    entry(widget, "Do you ship abroad?").get_by_role("checkbox").check()
    widget.get_by_role("button", name="Save ticked").click()

    expect(asked).to_have_text(ASKED[5])
    expect(widget).to_be_focused()  # so the keyboard goes on from there
    page.keyboard.press(number(widget, "Do you ship abroad?"))
    expect(asked).to_have_text(ASKED[6])
    page.keyboard.press(f"Shift+Digit{number(widget, 'Can I return shoes?')}")
    page.keyboard.press("Enter")
    expect(asked).to_have_text(ASKED[7])
    [kernel] = [child for child in jupyter.children(recursive=True) if "ipykernel_launcher" in child.cmdline()]
    kernel.kill()
    seven = [
        (ASKED[0], "0", "call"),
        (ASKED[1], "1", "call"),
        (ASKED[2], "", "call_out_of_scope"),
        (ASKED[3], "", "not_a_question"),
        (ASKED[4], "2 3", "call"),
        (ASKED[5], "3", "call"),
        (ASKED[6], "2", "call"),
    ]
    assert labels(tmp_path / "work") == seven
    page.close()

    page, widget = run(launched, address)
    asked = widget.get_by_role("heading")
    expect(asked).to_have_text(ASKED[7])
    expect(widget).to_contain_text("7 of 10 questions done. 6 labels in mine.csv.")
    widget.focus()
    page.keyboard.press("0")
    expect(asked).to_have_text(ASKED[8])
    page.keyboard.press("x")
    expect(asked).to_have_text(ASKED[9])
    page.keyboard.press(number(widget, "Where is my parcel?"))

    expect(widget).to_contain_text("10 of 10 questions done. 8 labels in mine.csv.")
    proposed = asked.inner_text()
    page.keyboard.type("i want it quickly")  # the field has the focus
    page.keyboard.press("Enter")
    expect(asked).to_have_text("i want it quickly")
    expect(entry(widget, proposed).get_by_role("checkbox")).to_be_checked()
    page.keyboard.press("Enter")
    expect(widget).to_contain_text("9 labels in mine.csv.")
    [*before, last] = labels(tmp_path / "work")
    assert before == [
        *seven,
        (ASKED[7], "", "call_out_of_scope"),
        (ASKED[8], "", "not_a_question"),
        (ASKED[9], "0", "call"),
    ]
    entries = json.loads((tmp_path / "work/mine.json").read_text())["questions"]
    assert entries[int(last[1])]["question"] == proposed
    assert last[::2] == ("i want it quickly", "typed")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_widget_has_no_barrier_in_either_theme_and_fits_a_narrow_window(
    lab: tuple[psutil.Process, str], launched: Browser, theme: str
) -> None:
    page, widget = run(launched, lab[1])
    page.evaluate("theme => void jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
    entry(widget, "Can I return shoes?").get_by_role("checkbox").check()
    page.evaluate((PROJECT_ROOT / "faqlab/web/node_modules/axe-core/axe.min.js").read_text())
    assert page.evaluate(AXE) == []
    page.evaluate("void jupyterapp.commands.execute('application:toggle-left-area')")
    page.set_viewport_size({"width": 420, "height": 900})
    assert widget.evaluate("of => of.scrollWidth <= of.clientWidth")
