"""The benchmark of the faults: its table, and what it makes of what a caller hears."""

from __future__ import annotations

import json
import sys

import pytest
from livekit import rtc

from benchmarks import faults
from benchmarks.command import run
from benchmarks.faults import Call, NotHereError, Seen
from faqlab.errors import FaqlabError


async def works() -> Seen:
    return Seen("hears | this (0.1 s)", 0.1, "goes on", "nothing")


async def cannot() -> Seen:
    raise NotHereError("there is no such thing")


@pytest.mark.parametrize("as_json", [False, True])
def test_it_prints_a_row_for_each_fault_and_why_one_was_not_played(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    monkeypatch.setattr(faults, "FAULTS", {"first": ("It works", works), "second": ("It can't be played", cannot)})
    monkeypatch.setattr(sys, "argv", ["faults", *(["--json"] if as_json else [])])
    with pytest.raises(SystemExit) as ended:
        run(faults.main)
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    if as_json:
        assert [row["caller"] for row in json.loads(printed)][1] == "not played: there is no such thing"
    else:
        assert printed.splitlines()[2] == "| It works | hears \\| this (0.1 s) | 0.1 | goes on | nothing |"


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(FaqlabError, match="no fault sabotage"):
        faults.main(["sabotage"])


async def test_what_was_being_said_when_the_fault_came_does_not_end_the_silence() -> None:
    call = Call("ws://127.0.0.1:9", "")
    call.sounds = {"voice": [0.9, 1.0, 1.1, 1.2, 3.0, 3.1], "hold": [2.0, 2.1, 2.7]}
    assert call.began(0.95) == 3.0
    assert call.held(0.95) == [2.0, 2.7]
    call._on_end(rtc.DisconnectReason.ROOM_DELETED)
    assert call.signs[-1][1] == "disconnected (ROOM_DELETED)"
