"""How text is spoken: sentences stream one by one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from livekit.agents import APIError
from scipy.signal import resample_poly
from spoken_audio import RATE, say

from benchmarks.words import normalise_words
from faqlab.voice.tts import AUDIBLE, EDGE_S, FAINT, SAMPLE_RATE, HibariTTS, Synthesizer
from faqlab.voice.whisper import Whisper


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("It costs $4.99, or £3.50.", "4 99"),
        ("You have a 14-day window.", "14 day window"),
        ("It takes 2–3 days.", "2 to 3 days"),
        ("It weighs 50000 kilograms.", "50 000 kilograms"),
    ],
)
def test_numbers_are_spoken_as_meant(written: str, words: str) -> None:
    assert words in " ".join(
        "".join(c if c.isalnum() else " " for c in Whisper.shared().recognise(say(written)).text).split()
    )


def test_there_is_no_silence_before_and_after_a_sentence() -> None:
    audio = Synthesizer.shared().speak("How long does delivery take?")
    assert audio.dtype == np.float32
    assert np.argmax(np.abs(audio) > FAINT) <= EDGE_S / 4 * SAMPLE_RATE
    assert len(audio) - np.flatnonzero(np.abs(audio) > AUDIBLE)[-1] <= EDGE_S * SAMPLE_RATE


@pytest.mark.parametrize("text", ["", "…", " ", "?!"])
def test_a_text_without_words_makes_no_audio(text: str) -> None:
    assert len(Synthesizer.shared().speak(text)) == 0


def test_sentences_are_spoken_with_a_pause_between_them() -> None:
    synthesizer = Synthesizer.shared()
    first, second = synthesizer.speak("It takes three days."), synthesizer.speak("Then it arrives.")
    whole = synthesizer.speak_all("It takes three days. Then it arrives.")
    assert len(whole) == len(first) + 0.3 * SAMPLE_RATE + len(second)
    assert not whole[len(first) : -len(second)].any()


def test_the_same_sentence_is_synthesized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    synthesizer = Synthesizer.shared()
    audio = synthesizer.speak("We open at nine.")
    monkeypatch.setattr(synthesizer, "_hibari", None)
    assert synthesizer.speak("We open at nine.") is audio


async def stream(*tokens: str) -> np.ndarray:
    async with HibariTTS(Synthesizer.shared()).stream() as speech:
        for token in tokens:
            speech.push_text(token)
        speech.end_input()
        return np.concatenate([np.frombuffer(event.frame.data, np.int16) async for event in speech])


async def test_a_stream_speaks_what_its_tokens_say_as_sentences() -> None:
    audio = await stream("It takes ", "three days. ", "Then it ", "arrives. ", "That is all")
    whole = Synthesizer.shared().speak_all("It takes three days. Then it arrives. That is all")
    assert len(audio) == pytest.approx(len(whole) + SAMPLE_RATE / 100, abs=1)
    heard = Whisper.shared().recognise(resample_poly(audio / 32768, RATE, SAMPLE_RATE).astype(np.float32)).text
    assert normalise_words(heard).replace("3", "three") == "it takes three days then it arrives that is all"


async def test_a_text_without_words_streams_a_moment_of_silence() -> None:
    audio = await stream("…")
    assert len(audio) > 0
    assert not audio.any()


async def test_a_sentence_is_heard_before_the_next_one_is_synthesized(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = threading.Event()

    def speak(_: Synthesizer, sentence: str, speed: float) -> np.ndarray:
        if sentence == "Two.":
            heard.wait()
        return np.full(SAMPLE_RATE, 0.5, np.float32)

    monkeypatch.setattr(Synthesizer, "speak", speak)
    async with HibariTTS(Synthesizer.shared()).stream() as speech:
        speech.push_text("One. Two.")
        speech.end_input()
        try:
            assert np.frombuffer((await anext(speech)).frame.data, np.int16).any()
        finally:
            heard.set()


async def test_a_failure_is_one_that_livekit_agents_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Synthesizer, "speak", fail)
    with pytest.raises(APIError, match="speech synthesis failed: broken on purpose"):
        await stream("It takes three days.")
