"""
Make saved notebooks the same on every machine: `python notebooks/tidy.py notebooks/*.ipynb`, after running them.

Two tags of a cell matter. `unsaved`: its output isn't kept, because it shows what callers say, or is of use only while
the notebook runs. A file name such as `docs/02_distances.png`: its figure is also written there, for `notebooks/README.md`.

JupyterLab, started by `make lab`, calls `tidy` too, so that opening a notebook changes nothing for git.
"""

import base64
import json
import re
import sys
from pathlib import Path

PROGRESS = re.compile(r"\d+/\d+ \[.*\]|^\s*0%\||^Building ")
PNG = re.compile(r"data:image/png;base64,([^\"]+)")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def tidy(notebook: dict) -> None:
    """Remove from *notebook*, in place, what differs from run to run and what belongs to `unsaved` cells."""
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        if cell["cell_type"] == "code":
            unsaved = "unsaved" in cell["metadata"].get("tags", [])
            outputs = [] if unsaved else map(without_progress, cell["outputs"])
            cell["outputs"] = [output for output in outputs if output]
    models = notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    state = {model: models[model] for model in shown_widgets(models, notebook["cells"])}
    widgets = {"widgets": {WIDGET_STATE: {"state": state, "version_major": 2, "version_minor": 0}}} if state else {}
    notebook["metadata"] = METADATA | widgets


def without_progress(output: dict) -> dict | None:
    """Return *output* without progress bars and lines on what is built; None if that is all."""
    if output.get("name") == "stderr":
        lines = re.split(r"(?<=\n)(?!$)", "".join(output["text"]))
        kept = [line for line in lines if not PROGRESS.search(line)]
        return {**output, "text": kept} if "".join(kept).strip() else None
    data = output.get("data", {})
    return None if WIDGET_VIEW in data and PROGRESS.search("".join(data.get("text/plain", ""))) else output


def shown_widgets(models: dict, cells: list) -> list[str]:
    """Return the ids of the widgets that *cells* show, and of their parts, in order."""
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    todo = [bundle[WIDGET_VIEW]["model_id"] for bundle in data if WIDGET_VIEW in bundle]
    found: list[str] = []
    while todo:
        model = todo.pop(0)
        if model in models and model not in found:
            found.append(model)
            todo += re.findall(r"IPY_MODEL_([\w-]+)", json.dumps(models[model]["state"]))
    return found


def pictures(notebook: dict) -> dict[str, bytes]:
    """Return the figures of the cells that are tagged with a file name, by that name."""
    return {
        tag: base64.b64decode(png[1])
        for cell in notebook["cells"]
        for tag in cell["metadata"].get("tags", [])
        for output in cell.get("outputs", [])
        if tag.endswith(".png") and (png := PNG.search("".join(output.get("data", {}).get("text/html", ""))))
    }


def short(text: str) -> float:
    """Return the number as JavaScript writes it, 1 and not 1.0, so that saving in JupyterLab changes nothing."""
    value = float(text)
    return int(value) if value.is_integer() else value


def main(path: Path) -> None:
    """Tidy the notebook at *path*, number its widgets, and write its tagged figures."""
    notebook = json.loads(path.read_text(encoding="utf-8"), parse_float=short)
    tidy(notebook)
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    state = notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for number, model in enumerate(state, start=1):
        text = text.replace(model, f"widget-{number:02d}")
    path.write_text(text + "\n", encoding="utf-8")
    for name, picture in pictures(notebook).items():
        (path.parent.parent / name).write_bytes(picture)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(Path(name))
