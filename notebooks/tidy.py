"""
Make saved notebooks say the same on every machine: `python notebooks/tidy.py notebooks/*.ipynb`, after running them.

Drops when each cell ran, finished progress bars and what the kernel says of itself; widgets get ids that count up.
"""

import json
import re
import sys
from pathlib import Path

PROGRESS = re.compile(r"\d+/\d+ \[.*\]|^\s*0%\|")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def tidy(path: Path) -> None:
    """Rewrite the notebook at *path*."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if not is_progress(output)]
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    models = notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    shown = reachable(models, notebook["cells"])
    if shown:
        state = {model: models[model] for model in shown}
        metadata["widgets"] = {WIDGET_STATE: {"state": state, "version_major": 2, "version_minor": 0}}
    notebook["metadata"] = metadata
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    for number, model in enumerate(shown, start=1):
        text = text.replace(model, f"widget-{number:02d}")
    path.write_text(text + "\n", encoding="utf-8")


def is_progress(output: dict) -> bool:
    """Return whether *output* is a progress bar, as a widget or as text."""
    text = "".join(output.get("data", {}).get("text/plain", output.get("text", "")))
    return (WIDGET_VIEW in output.get("data", {}) or output.get("name") == "stderr") and bool(PROGRESS.search(text))


def reachable(models: dict, cells: list) -> list[str]:
    """Return the ids of the widgets that *cells* show and of what those are made of, in that order."""
    found: list[str] = []
    todo = [
        output["data"][WIDGET_VIEW]["model_id"]
        for cell in cells
        for output in cell.get("outputs", [])
        if WIDGET_VIEW in output.get("data", {})
    ]
    while todo:
        model = todo.pop(0)
        if model in models and model not in found:
            found.append(model)
            todo += re.findall(r"IPY_MODEL_([\w-]+)", json.dumps(models[model]["state"]))
    return found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        tidy(Path(name))
