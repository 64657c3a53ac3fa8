"""The scripted caller: what it sends and records, and how failed calls are reported. Its real calls are in voice/."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import call_audio, scripted_caller
from benchmarks.call_audio import CHUNK, FRAME, RATE, CallAudio, utterances, with_pause
from benchmarks.scripted_caller import Exchange, call
from faqlab.errors import FaqlabError
from faqlab.lookup_log import LookupRecord


def sound(*stretches: tuple[float, float], seconds: float = 8.0) -> np.ndarray:
    """A tone, int16, from and to each of these seconds."""
    audio = np.zeros(int(seconds * RATE), np.int16)
    for start, end in stretches:
        moments = np.arange(int(start * RATE), int(end * RATE))
        audio[moments] = 8000 * np.sin(2 * np.pi * 300 * moments / RATE)
    return audio


async def test_speech_is_sent_whole_and_without_a_gap() -> None:
    audio, sent = CallAudio(), list[np.ndarray]()

    async def capture_frame(frame: Any) -> None:
        sent.append(np.frombuffer(frame.data, np.int16))

    sending = asyncio.create_task(audio.send(SimpleNamespace(capture_frame=capture_frame)))  # type: ignore[arg-type]
    speech = np.full(int(0.33 * RATE), 0.5, np.float32)
    began, ended = await audio.speak(speech)
    sending.cancel()
    samples = np.concatenate(sent)
    [spoken] = np.split(np.flatnonzero(samples), np.flatnonzero(np.diff(np.flatnonzero(samples)) > 1) + 1)
    assert len(spoken) == len(speech)
    assert ended - began >= len(speech) / RATE - 1e-6  # more where this machine was held up


async def receive(monkeypatch: pytest.MonkeyPatch, samples: np.ndarray) -> CallAudio:
    """Receive *samples* chunk by chunk on a clock that starts at 0."""
    audio, clock = CallAudio(), [0.0]
    monkeypatch.setattr(call_audio, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    class Stream:
        async def __aiter__(self) -> Any:
            for chunk in samples.reshape(-1, CHUNK):
                clock[0] += CHUNK / RATE
                yield SimpleNamespace(frame=SimpleNamespace(data=chunk.tobytes()))

        async def aclose(self) -> None:
            pass

    await audio.receive(Stream())  # type: ignore[arg-type]
    return audio


async def test_a_sound_is_recorded_at_the_frame_in_which_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = await receive(monkeypatch, sound((1.07, 1.6), (1.7, 2.0), (3.0, 3.5), seconds=4))
    frame = FRAME / RATE
    assert audio.first_sound(0.0) == pytest.approx(1.07 + frame)
    assert audio.first_sound(1.2) == pytest.approx(3.0 + frame), "what had begun before doesn't count"
    assert audio.first_sound(3.2) is None
    assert audio.silent_from(1.2) == pytest.approx(2.0)
    assert (audio.silent_from(3.2), audio.silent_from(3.6)) == (pytest.approx(3.5), None)
    assert audio.last_sound() == pytest.approx(3.5)
    assert len(audio.received_since(3.0)) == pytest.approx(RATE, abs=FRAME)


def test_utterances_are_separated_by_silences_but_not_by_short_gaps() -> None:
    assert utterances(sound((1.0, 1.5), (1.6, 2.0), (3.0, 3.2))) == [(1.0, 2.0), (3.0, 3.2)]
    assert utterances(sound()) == utterances(np.zeros(0, np.int16)) == []


@pytest.mark.parametrize("own_silence", [0.0, 0.1, 0.9])
def test_a_pause_has_the_given_length_whatever_silence_was_there(own_silence: float) -> None:
    speech = sound((1.0, 2.0), (2.0 + own_silence, 3.0)).astype(np.float32) / 32768
    paused = with_pause(speech, int((2.0 + own_silence / 2) * RATE), 0.5)
    audible = np.flatnonzero(np.abs(paused) > 0.01)
    assert np.diff(audible).max() / RATE == pytest.approx(0.5, abs=0.005)
    assert (len(paused) - len(speech)) / RATE == pytest.approx(0.5 - own_silence, abs=0.005)


def demo(records: tuple[LookupRecord, ...] = ()) -> Any:
    return SimpleNamespace(calls=SimpleNamespace(records=records))


async def test_calls_from_a_notebooks_loop_are_a_table_with_the_agents_own_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = LookupRecord("pay", "room", None, milliseconds={"embed": 5.0, "voice": 80.0}, id="one")
    lookup = {"id": "one", "outcome": "clarify", "hits": [{"id": "pay"}, {"id": "gift"}], "choices": ["How?"]}

    async def ask(_: Any, query: str) -> Exchange:
        if query == "?":
            raise FaqlabError("couldn't join")
        return Exchange(query, ("Pay.",), "How?", (lookup,) if query == "pay" else (), first_audio_s=0.6604)

    monkeypatch.setattr(scripted_caller, "ask", ask)
    paid, hello, failed = call(demo((record,)), ["pay", "hello", "?"]).to_dict("records")
    assert (paid["outcome"], paid["retrieved"], paid["offered"]) == ("clarify", ["pay", "gift"], ["pay"])
    assert (paid["transcript"], paid["reply"], paid["first_audio_ms"]) == ("Pay.", "How?", 660)
    assert (paid["embed_ms"], paid["voice_ms"]) == (5.0, 80.0)
    assert (pd.isna(hello["outcome"]), hello["retrieved"]) == (True, [])
    assert (failed["query"], failed["transcript"], failed["reply"]) == ("?", "", "")


def test_a_failed_call_is_logged_and_an_error_only_if_all_fail(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(_: Any, query: str) -> Exchange:
        if query == "well":
            return Exchange(query)
        raise FaqlabError("couldn't join")

    monkeypatch.setattr(scripted_caller, "ask", ask)
    with caplog.at_level(logging.WARNING):
        assert len(call(demo(), ["well", "badly"])) == 2
    assert caplog.messages == ["The call that asked 'badly' failed: couldn't join"]
    with pytest.raises(FaqlabError, match="couldn't join"):
        call(demo(), ["badly", "badly"])
