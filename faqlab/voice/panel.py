"""A widget that shows the calls as they happen."""

from html import escape
from threading import Lock

from ipywidgets import HTML, Button, HBox, VBox

from faqlab.lookup_log import LookupRecord
from faqlab.voice.demo import LiveDemo
from faqlab.widgets import table

SHOWN = 8


def call_panel(demo: LiveDemo) -> VBox:
    """Return a widget with the latest look-ups of *demo*, whether it is running, and a button that stops it."""
    state, calls, stop = HTML(), HTML(), Button(description="Stop", icon="stop", tooltip="End the calls and the demo")
    lock = Lock()

    # Also runs on the agent's thread, where a widget's value may be set but nothing may be printed into it.
    def show(_: LookupRecord | None = None) -> None:
        with lock:
            running = demo.running
            link = f'Answering calls at <a href="{demo.url}" target="_blank">{demo.url}</a>.' if running else ""
            notice = demo.problem or demo.notice or ("" if running else "Not running.")
            state.value = f"{link} {escape(notice)}".strip()
            stop.disabled = not running
            rows = [_row(record) for record in demo.calls.records[-SHOWN:][::-1]]
            calls.value = table(rows).data if rows else "<i>No look-ups yet: join and ask something.</i>"

    stop.on_click(lambda _: demo.stop())
    demo.calls.subscribers.append(show)
    demo.watchers.append(show)
    show()
    return VBox([HBox([stop, state]), calls])


def _row(record: LookupRecord) -> dict[str, object]:
    best = record.hits[0] if record.hits else None
    return {
        "time": f"{record.time.astimezone():%H:%M:%S}",
        "transcript": record.query,
        "outcome": record.outcome,
        "first entry": best and best["question"],
        "squared L2": best and best["squared_l2"],
        "said, but in no entry": ", ".join(record.invented) or None,
    }
