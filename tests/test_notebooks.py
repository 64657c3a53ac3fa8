"""The saved notebooks: whole, in order, readable and the same on every machine; and what `notebooks/tidy.py` keeps."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import pytest
from conftest import SMALL
from ipywidgets import HTML, VBox, Widget
from ipywidgets.embed import dependency_state

from faqlab import settings as settings_module
from faqlab.settings import PROJECT_ROOT, settings

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))
JWT = re.compile(r"\beyJ[\w-]+\.")  # not just its beginning, which a picture may hold
OWN_PATH = re.compile(rf"(?<![\w.])(?:/home/|/root/|/Users/|[A-Z]:\\|{re.escape(str(PROJECT_ROOT))})")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def load_tidy() -> Any:
    spec = importlib.util.spec_from_file_location("tidy", PROJECT_ROOT / "notebooks" / "tidy.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The cells with their source as one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    joined = [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]
    return [cell for cell in joined if kind in (None, cell["cell_type"])]


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


@each_notebook
def test_a_committed_notebook_was_run_from_top_to_bottom_without_a_complaint(path: Path) -> None:
    counts = [cell["execution_count"] for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    printed = outputs({"cells": cells(path)})
    assert [output for output in printed if output["output_type"] == "error"] == []
    assert ["".join(output["text"]) for output in printed if output.get("name") == "stderr"] == []


@each_notebook
def test_a_committed_notebook_holds_no_token_and_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert JWT.findall(text) == []
    assert OWN_PATH.findall(text) == []


@each_notebook
def test_a_cell_of_code_is_short_and_follows_a_text(path: Path) -> None:
    for before, cell in pairwise(cells(path)):
        if cell["cell_type"] == "code":
            lines = [line for line in cell["source"].splitlines() if line]
            assert before["cell_type"] == "markdown", cell["source"]
            assert len(lines) <= 7, cell["source"]
            assert max(map(len, lines)) <= 100, cell["source"]


@each_notebook
def test_every_figure_has_an_alternative_text(path: Path) -> None:
    data = [output.get("data", {}) for output in outputs({"cells": cells(path)})]
    assert not [bundle for bundle in data if "image/png" in bundle]
    images = [image for bundle in data for image in re.findall("<img [^>]*", "".join(bundle.get("text/html", "")))]
    assert [image[:80] for image in images if not re.match('<img alt="[^"]{10,}', image)] == []


def test_the_pictures_in_docs_are_those_of_the_notebooks() -> None:
    made = {name: png for path in NOTEBOOKS for name, png in load_tidy().pictures({"cells": cells(path)}).items()}
    assert made
    assert [name for name, png in made.items() if (PROJECT_ROOT / name).read_bytes() != png] == []


def test_a_token_and_a_path_would_be_found() -> None:
    assert JWT.search('"token": "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.c2ln"')
    for path in ("/" + "home/me/faqlab", f"({PROJECT_ROOT / 'data'}", "at /" + "Users/me", r"C:\\Users\\me"):
        assert OWN_PATH.search(path)
    assert not OWN_PATH.search("embeddings_cache/faiss_index.bin, and https://example.com/home/page")


@pytest.fixture
def own_files(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Settings that name an FAQ without ids and categories, and queries without ids, kinds and splits."""
    faqs = json.dumps({"questions": [{"question": question, "answer": answer} for question, answer in SMALL]})
    queries = "query,relevant\nwhere's my order,0\npaying by card,1\nsend shoes back,2 3\nmy cat is ill,\nhi there,\n"
    for folder in ("data/training/validation", "data/training/final", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("mine", "data/training/validation/tiny", "data/training/final/tiny"):
        (tmp_path / name).with_suffix(".json").write_text(faqs)
        (tmp_path / name).with_suffix(".csv").write_text(queries)
    (tmp_path / "retrieval.json").write_text("{}")
    for name in ("docs/own_training.json", "data/replies.toml"):
        (tmp_path / name).symlink_to(PROJECT_ROOT / name)
    for name, file in {"FAQS": "mine.json", "QUERIES": "mine.csv", "RETRIEVAL": "retrieval.json"}.items():
        monkeypatch.setenv(f"FAQLAB_{name}", str(tmp_path / file))
    monkeypatch.setenv("FAQLAB_CACHE_DIR", str(cache_dir))
    monkeypatch.setattr(settings_module, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr("faqlab.calibration.OTHERS", tmp_path / "data/training/validation")
    settings.cache_clear()
    with mpl.rc_context():  # the notebooks' style is theirs alone
        yield tmp_path
    settings.cache_clear()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_notebooks_2_to_4_run_with_two_small_files_of_ones_own(own_files: Path) -> None:
    for path in NOTEBOOKS[1:4]:
        namespace: dict[str, Any] = {}
        for cell in cells(path, "code"):
            exec(compile(cell["source"], path.name, "exec"), namespace)
    assert json.loads((own_files / "retrieval.json").read_text())["scale"]


def test_tidy_drops_progress_and_unsaved_outputs_and_keeps_the_rest() -> None:
    tidy = load_tidy()
    new = nbformat.v4.new_output

    def shown(widget: Widget) -> Any:
        data = {"text/plain": "VBox()", tidy.WIDGET_VIEW: {"model_id": widget.model_id}}
        return new("execute_result", data, execution_count=1)

    panel, plot = VBox([HTML("a caller's words")]), VBox([HTML("a figure")])
    kept, unsaved = (nbformat.v4.new_code_cell("…", execution_count=n) for n in (1, 2))
    unsaved["metadata"]["tags"] = ["unsaved"]
    unsaved.outputs = [shown(panel)]
    kept.outputs = [
        new("stream", name="stderr", text="\r100%|██| 3/3 [00:01<00:00]\nBuilding the index.\nA warning.\n"),
        shown(plot),
    ]
    state = dependency_state([panel, plot])
    notebook = nbformat.v4.new_notebook(
        cells=[kept, unsaved], metadata={"widgets": {tidy.WIDGET_STATE: {"state": state}}}
    )
    tidy.tidy(notebook)
    text = json.dumps(notebook)
    assert "a caller's words" not in text
    assert "a figure" in text
    assert ["".join(output.get("text", "")) for output in outputs(notebook)] == ["A warning.\n", ""]


def test_saved_widgets_are_numbered_numbers_are_short_and_a_tagged_figure_is_written(tmp_path: Path) -> None:
    tidy = load_tidy()
    plot = VBox([HTML("a figure")])
    cell = nbformat.v4.new_code_cell("…", execution_count=1, metadata={"tags": ["docs/some.png"]})
    png = base64.b64encode(b"a picture").decode()
    view = {"text/plain": "VBox()", tidy.WIDGET_VIEW: {"model_id": plot.model_id}}
    bundles = view, {"text/html": f'<img alt="…" src="data:image/png;base64,{png}">'}, {"application/json": [1.0, 1.5]}
    cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1) for data in bundles]
    metadata = {"widgets": {tidy.WIDGET_STATE: {"state": dependency_state([plot])}}}
    path = tmp_path / "notebooks" / "some.ipynb"
    path.parent.mkdir()
    (tmp_path / "docs").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), path)
    tidy.main(path)
    saved = json.loads(path.read_text())
    assert outputs(saved)[0]["data"][tidy.WIDGET_VIEW] == {"model_id": "widget-01"}
    assert str(outputs(saved)[2]["data"]["application/json"]) == "[1, 1.5]"  # as JupyterLab would save it
    assert (tmp_path / "docs/some.png").read_bytes() == b"a picture"
    nbformat.validate(nbformat.read(path, 4))
