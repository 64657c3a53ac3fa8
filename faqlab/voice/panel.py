"""A widget that follows the live calls."""

from __future__ import annotations

from html import escape
from threading import Lock
from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, HBox, VBox

from faqlab.errors import FaqlabError
from faqlab.voice.calls import LookupRecord

if TYPE_CHECKING:
    from faqlab.voice.demo import LiveDemo

SHOWN = 8
CLASS = "faqlab-calls"
"""By which `notebooks/tidy.py` knows it: callers' words are not saved."""
WORDS = {"answer": "answered", "ask_back": "asked back", "decline": "did not know", "failed": "failed"}


def call_panel(demo: LiveDemo) -> VBox:
    """
    Return a widget with the latest look-ups of *demo*, whether it runs, and a button that stops it; until `close()`.

    The agent's thread assigns to it, which ipywidgets allows; printing or `with Output()` there would not do.
    """
    state, table, stop = HTML(), HTML(), Button(description="Stop", icon="stop", tooltip="End the calls and the demo")
    lock = Lock()

    def show(_: LookupRecord | None = None) -> None:
        with lock:
            try:
                url = demo.url
                state.value = f'Answering calls at <a href="{url}" target="_blank">{url}</a>'
            except FaqlabError as error:
                state.value = escape(str(error))
            stop.disabled = not demo.running
            table.value = _table(demo.calls.records[-SHOWN:][::-1])

    def press(_: Button) -> None:
        stop.disabled = True
        demo.stop()

    stop.on_click(press)
    ends = [demo.calls.subscribe(show), demo.watch(show)]
    show()
    panel = VBox([HBox([stop, state]), table])
    panel.observe(lambda _: [end() for end in ends], "comm")  # which `panel.close()` takes away
    panel.add_class(CLASS)
    return panel


def _table(records: tuple[LookupRecord, ...]) -> str:
    if not records:
        return "<i>No look-up yet: join and ask something.</i>"
    heads = ("time", "heard", "outcome", "first entry", "squared L2", "first sound")
    rows = "".join(
        "<tr>"
        + "".join(f"<td style='padding:2px 10px;text-align:left'>{cell}</td>" for cell in _cells(record))
        + "</tr>"
        for record in records
    )
    head = "".join(f"<th style='padding:2px 10px;text-align:left'>{name}</th>" for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(record: LookupRecord) -> list[str]:
    best = record.hits[0] if record.hits else None
    waited = sum(record.milliseconds.values())
    return [
        f"{record.time.astimezone():%H:%M:%S}",
        escape(record.query),
        WORDS.get(record.outcome, record.outcome),
        escape(best.question) if best else "–",
        f"{best.squared_l2:.2f}" if best else "–",
        f"{waited:.0f} ms" if "voice" in record.milliseconds else "–",
    ]
