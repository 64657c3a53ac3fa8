"""The saved notebooks: whole, in order, and the same on every machine; and what `notebooks/tidy.py` leaves of one."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from ipywidgets import HTML, VBox, Widget
from ipywidgets.embed import dependency_state

from faqlab.settings import PROJECT_ROOT
from faqlab.voice.panel import CLASS

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))
JWT = re.compile(r"\beyJ[\w-]+\.")  # not just its beginning, which a picture may hold
OWN_PATH = re.compile(rf"(?<![\w.])(?:/home/|/root/|/Users/|[A-Z]:\\|{re.escape(str(PROJECT_ROOT))})")


def load_tidy() -> Any:
    spec = importlib.util.spec_from_file_location("tidy", PROJECT_ROOT / "notebooks" / "tidy.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_was_run_from_top_to_bottom_without_a_complaint(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    said = outputs(notebook)
    assert [output for output in said if output["output_type"] == "error"] == []
    assert ["".join(output["text"]) for output in said if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_holds_no_token_no_path_of_a_machine_and_no_callers_words(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert JWT.findall(text) == []
    assert OWN_PATH.findall(text) == []
    assert f'"{CLASS}"' not in text


def test_the_readme_shows_pictures_of_the_notebooks_as_they_are() -> None:
    made = {name: png for path in NOTEBOOKS for name, png in load_tidy().pictures(json.loads(path.read_text())).items()}
    shown = re.findall(r"!\[.*?\]\((.*?)\)", (PROJECT_ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(made)
    assert [name for name, png in made.items() if (PROJECT_ROOT / name).read_bytes() != png] == []


def test_a_token_and_a_path_would_be_found() -> None:
    assert JWT.search('"token": "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.c2ln"')
    for path in ("/" + "home/me/faqlab", f"({PROJECT_ROOT / 'data'}", "at /" + "Users/me", r"C:\\Users\\me"):
        assert OWN_PATH.search(path)
    assert not OWN_PATH.search("embeddings_cache/faiss_index.bin, and https://example.com/home/page")


def test_tidy_drops_callers_words_and_what_was_built_and_keeps_the_rest(tmp_path: Path) -> None:
    tidy = load_tidy()
    panel, plot = VBox([HTML("a caller's words")]), VBox([HTML("a figure")])
    panel.add_class(CLASS)
    new = nbformat.v4.new_output

    def shown(widget: Widget) -> Any:
        data = {"text/plain": "VBox()", tidy.WIDGET_VIEW: {"model_id": widget.model_id}}
        return new("execute_result", data, execution_count=1)

    cell = nbformat.v4.new_code_cell("…", execution_count=1)
    cell.outputs = [
        new("stream", name="stderr", text="Building the index of 79 FAQs: none was kept.\n"),
        new("stream", name="stderr", text="\r100%|██| 3/3 [00:01<00:00]\nBuilding the page.\nA warning.\n"),
        new(
            "stream",
            name="stdout",
            text="Building the page (once, some 20 s).\nBuilding the index of 79 FAQs: damaged.\n",
        ),
        shown(panel),
        shown(plot),
    ]
    state = dependency_state([panel, plot])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {tidy.WIDGET_STATE: {"state": state}}})
    path = tmp_path / "some.ipynb"
    nbformat.write(notebook, path)

    tidy.tidy(path)
    text = path.read_text()
    assert "a caller's words" not in text and "a figure" in text
    left = outputs(json.loads(text))
    assert ["".join(output.get("text", "")) for output in left] == [
        "A warning.\n",
        "Building the index of 79 FAQs: damaged.\n",
        "",
    ]
    assert left[-1]["data"][tidy.WIDGET_VIEW] == {"model_id": "widget-01"}
    nbformat.validate(nbformat.read(path, 4))
