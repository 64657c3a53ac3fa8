"""
Make saved notebooks say the same on every machine: `python notebooks/tidy.py notebooks/*.ipynb`, after running them.

Drops when each cell ran, finished progress bars, what was built on the way, what the kernel says of itself, and the
panel that follows the calls: callers' words are personal. Widgets get ids that count up. The picture of a cell that is
tagged with a file's name is written there: the README shows it.
"""

import base64
import json
import re
import sys
from pathlib import Path

PROGRESS = re.compile(r"\d+/\d+ \[.*\]|^\s*0%\|")
NOISE = {  # lines, by stream; notebook 1 prints on purpose that an index is built
    "stderr": re.compile(rf"{PROGRESS.pattern}|^(Building|Another faqlab) "),
    "stdout": re.compile(r"^(Building the page|Building livekit-server|Built livekit-server|Another faqlab) "),
}
CALLS = "faqlab-calls"  # the class of faqlab.voice.panel's widget
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def tidy(path: Path) -> None:
    """Rewrite the notebook at *path*."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    models = notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        if "outputs" in cell:
            outputs = [without_progress(output) for output in cell["outputs"]]
            cell["outputs"] = [output for output in outputs if output and not is_panel(output, models)]
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    shown = reachable(models, notebook["cells"])
    if shown:
        state = {model: models[model] for model in shown}
        metadata["widgets"] = {WIDGET_STATE: {"state": state, "version_major": 2, "version_minor": 0}}
    notebook["metadata"] = metadata
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    for number, model in enumerate(shown, start=1):
        text = text.replace(model, f"widget-{number:02d}")
    path.write_text(text + "\n", encoding="utf-8")
    for name, picture in pictures(notebook).items():
        (path.parent.parent / name).write_bytes(picture)


def pictures(notebook: dict) -> dict[str, bytes]:
    """Return the pictures in the cells that are tagged with a file's name, by that name."""
    return {
        tag: base64.b64decode("".join(output["data"]["image/png"]))
        for cell in notebook["cells"]
        for tag in cell["metadata"].get("tags", [])
        for output in cell["outputs"]
        if tag.endswith(".png") and "image/png" in output.get("data", {})
    }


def without_progress(output: dict) -> dict | None:
    """Return *output* without progress bars and lines on what was built; None if nothing else is in it."""
    if output["output_type"] != "stream":
        data = output.get("data", {})
        return None if WIDGET_VIEW in data and PROGRESS.search("".join(data.get("text/plain", ""))) else output
    lines = re.split(r"(?<=\n)(?!$)", "".join(output["text"]))
    kept = [line for line in lines if not NOISE[output["name"]].search(line)]
    return {**output, "text": kept} if "".join(kept).strip() else None


def is_panel(output: dict, models: dict) -> bool:
    """Return whether *output* shows the panel that follows the calls."""
    model = output.get("data", {}).get(WIDGET_VIEW, {}).get("model_id")
    return CALLS in models.get(model, {}).get("state", {}).get("_dom_classes", [])


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
