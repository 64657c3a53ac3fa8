"""
When somebody speaks, what they say, and when they have finished.

The tests of `Turn` script the probability of speech and the transcripts; the tests of the stream have the real VAD and
Whisper on spoken questions. Neither waits: audio is sent as fast as it is taken, and time is that of the audio.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from threading import Event
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIError, stt
from livekit.local_inference import VAD_WINDOW_SAMPLES
from spoken_audio import RATE, say, silence

from benchmarks.words import normalise_words
from faqlab.voice.endpointing import wait_after
from faqlab.voice.stt import UNINTELLIGIBLE, Turn, WhisperSTT
from faqlab.voice.tts import to_int16
from faqlab.voice.whisper import Transcript, Whisper

QUESTION = Transcript("How long does your standard delivery take on Sundays?", endings=(0.99, 0, 0, 0.01))
STATEMENT = Transcript("I want to cancel the latest order of mine.", endings=(0.9, 0, 0.02, 0.02))
DOUBTFUL = Transcript("Do I need an account?", endings=(0.7, 0.03, 0.05, 0.1))
UNFINISHED = Transcript("How long does")
NOTHING = Transcript("")
WINDOW_S = VAD_WINDOW_SAMPLES / RATE


class Script:
    """A recogniser that returns the first transcript for one stretch of speech, the second for two, and so on."""

    def __init__(self, *transcripts: Transcript) -> None:
        self.transcripts, self.stretches = transcripts, list[int]()

    def recognise(self, audio: np.ndarray) -> Transcript:
        loud = np.concatenate([[False], np.abs(audio) > 0.1])
        self.stretches.append(int(np.count_nonzero(loud[1:] & ~loud[:-1])))
        return self.transcripts[min(self.stretches[-1], len(self.transcripts)) - 1]


class Slow(Script):
    """A recogniser that doesn't return before it's released."""

    def __init__(self, *transcripts: Transcript) -> None:
        super().__init__(*transcripts)
        self.started, self.release, self.loop = asyncio.Event(), Event(), asyncio.get_running_loop()

    def recognise(self, audio: np.ndarray) -> Transcript:
        self.loop.call_soon_threadsafe(self.started.set)
        assert self.release.wait(60)
        return super().recognise(audio)


class Audio:
    """A `Turn` that takes scripted audio, and its events with the window at which each was sent."""

    def __init__(self, recogniser: Any) -> None:
        self.windows, self.events = 0, list[tuple[int, str, str]]()
        self.turn = Turn(recogniser, self._note)

    def _note(self, event: stt.SpeechEvent) -> None:
        text = event.alternatives[0].text if event.alternatives else ""
        self.events.append((self.windows, event.type.value, text))

    async def take(self, seconds: float, probability: float) -> Audio:
        for _ in range(round(seconds / WINDOW_S)):
            self.windows += 1
            await self.turn.take(np.full(VAD_WINDOW_SAMPLES, 10_000 * (probability > 0.5), np.int16), probability)
        return self

    async def speak(self, seconds: float) -> Audio:
        return await self.take(seconds, 0.9)

    async def pause(self, seconds: float) -> Audio:
        return await self.take(seconds, 0.1)

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.events]

    @property
    def finals(self) -> list[str]:
        return [text for _, kind, text in self.events if kind == "final_transcript"]


@pytest.mark.parametrize("transcript", [QUESTION, STATEMENT, DOUBTFUL, UNFINISHED])
async def test_a_turn_ends_after_the_silence_that_its_transcript_calls_for(transcript: Transcript) -> None:
    delay = wait_after(transcript)
    audio = Audio(Script(transcript))
    await audio.speak(1.0)
    spoken = audio.windows
    await audio.pause(2.0)
    assert audio.kinds == ["start_of_speech", "preflight_transcript", "final_transcript", "end_of_speech"]
    assert audio.finals == [transcript.text]
    waits = [(window - spoken) * WINDOW_S for window, kind, _ in audio.events if kind != "start_of_speech"]
    assert waits[1:] == [pytest.approx(delay - WINDOW_S, abs=WINDOW_S / 2)] * 2  # the VAD is late


@pytest.mark.parametrize("transcript", [QUESTION, DOUBTFUL, UNFINISHED])
@pytest.mark.parametrize("pause", [0.3, 0.5, 0.8, 1.1])
async def test_a_pause_ends_a_turn_exactly_if_it_is_longer_than_the_delay(transcript: Transcript, pause: float) -> None:
    audio = Audio(Script(transcript, STATEMENT))
    for seconds in (1.0, 1.0):
        await audio.speak(seconds)
        await audio.pause(pause)
    await audio.pause(1.0)
    cut_in = pause > wait_after(transcript)
    assert audio.finals == ([transcript.text, STATEMENT.text] if cut_in else [STATEMENT.text])


async def test_a_turn_does_not_end_in_a_window_that_is_not_quite_silent() -> None:
    audio = await (await Audio(Script(QUESTION)).speak(1.0)).pause(wait_after(QUESTION) - 2 * WINDOW_S)
    await audio.take(2 * WINDOW_S, 0.3)
    assert audio.finals == []
    await audio.pause(WINDOW_S)
    assert audio.finals == [QUESTION.text]


@pytest.mark.parametrize("transcript", [QUESTION, UNFINISHED])
async def test_a_slow_recogniser_delays_the_turn_but_changes_nothing(transcript: Transcript) -> None:
    async def talk(audio: Audio) -> list[tuple[int, str, str]]:
        for seconds, pause in ((1.0, 0.7), (0.5, 0.4), (1.0, 2.0)):
            await audio.speak(seconds)
            await audio.pause(pause)
        return audio.events

    recogniser = Slow(transcript)
    slow = Audio(recogniser)
    talking = asyncio.create_task(talk(slow))
    await recogniser.started.wait()
    assert slow.windows * WINDOW_S == pytest.approx(1.35, abs=WINDOW_S)  # nothing is taken before it is decided
    assert slow.kinds == ["start_of_speech"]
    recogniser.release.set()
    assert await talking == await talk(Audio(Script(transcript)))


async def test_a_turn_that_goes_on_is_recognised_again_from_its_beginning() -> None:
    script = Script(UNFINISHED, QUESTION)
    audio = Audio(script)
    for pause in (0.5, 2.0):
        await audio.speak(1.0)
        await audio.pause(pause)
    assert audio.finals == [QUESTION.text]
    assert script.stretches == [1, 2]


async def test_a_caller_who_was_cut_off_and_goes_on_is_transcribed_whole() -> None:
    script = Script(QUESTION, STATEMENT)
    audio = Audio(script)
    for pause in (1.4, 3.0, 1.0):
        await audio.speak(1.0)
        await audio.pause(pause)
    assert audio.finals == [QUESTION.text, STATEMENT.text, QUESTION.text]  # after 3 s, it's another question


async def test_time_matters_while_somebody_speaks_and_may_go_on() -> None:
    audio = Audio(Script(QUESTION))
    assert not audio.turn.time_matters
    await audio.speak(1.0)
    assert audio.turn.time_matters
    await audio.pause(1.7)
    assert audio.turn.time_matters
    await audio.pause(0.3)
    assert not audio.turn.time_matters


async def test_a_noise_after_a_question_does_not_take_its_place() -> None:
    script = Script(QUESTION, NOTHING)
    audio = Audio(script)
    for seconds, pause in ((1.0, 0.55), (0.1, 0.95), (1.0, 1.0)):
        await audio.speak(seconds)
        await audio.pause(pause)
    assert script.stretches == [1, 2, 2]  # the question, with the noise, and with what was said after that


async def test_noise_without_words_ends_without_a_transcript() -> None:
    audio = await (await Audio(Script(NOTHING)).speak(0.5)).pause(2.0)
    assert audio.kinds == ["start_of_speech", "end_of_speech"]


async def test_long_speech_without_a_word_is_unintelligible() -> None:
    audio = await (await Audio(Script(NOTHING)).speak(1.0)).pause(2.0)
    assert audio.finals == [UNINTELLIGIBLE]


async def test_a_click_does_not_begin_a_turn() -> None:
    audio = Audio(Script(QUESTION))
    for _ in range(20):
        await audio.speak(WINDOW_S)
        await audio.pause(WINDOW_S)
    assert audio.events == []


async def test_a_fading_voice_does_not_begin_a_turn_but_continues_one() -> None:
    audio = await Audio(Script(QUESTION)).take(2.0, 0.4)
    assert audio.events == []
    await (await audio.speak(0.5)).take(2.0, 0.4)
    assert audio.kinds == ["start_of_speech"]


async def test_a_long_noise_without_a_word_is_cut_off_at_27_seconds() -> None:
    audio = await Audio(Script(NOTHING)).speak(60)
    ends = [window * WINDOW_S for window, kind, _ in audio.events if kind == "final_transcript"]
    assert [later - earlier for earlier, later in pairwise([0.0, *ends])] == [pytest.approx(27, abs=0.1)] * 2
    assert set(audio.finals) == {UNINTELLIGIBLE}


class Pieces:
    """A recogniser that returns how many seconds it was given, so that a turn's transcript shows its pieces."""

    def recognise(self, audio: np.ndarray) -> Transcript:
        return Transcript(f"{np.count_nonzero(np.abs(audio) > 0.1) / RATE:.0f}." if np.abs(audio).max() > 0.1 else "")


async def test_a_story_of_a_minute_is_one_turn_and_no_piece_of_it_is_recognised_twice() -> None:
    audio = Audio(Pieces())
    for _ in range(12):  # sentences of 5 s with a breath after each
        await audio.speak(5.0)
        await audio.pause(0.2)
    await audio.pause(2.0)
    assert audio.kinds.count("start_of_speech") == audio.kinds.count("end_of_speech") == 1
    assert audio.finals == ["25. 25. 10."]


async def test_speech_that_never_pauses_is_cut_off_after_81_seconds() -> None:
    audio = await Audio(Pieces()).speak(170)
    ends = [window * WINDOW_S for window, kind, _ in audio.events if kind == "final_transcript"]
    assert [later - earlier for earlier, later in pairwise([0.0, *ends])] == [pytest.approx(81, abs=0.3)] * 2
    assert audio.finals == ["27. 27. 27."] * 2


async def test_what_is_transcribed_together_is_never_longer_than_a_piece() -> None:
    audio = Audio(Pieces())
    for _ in range(2):
        await audio.speak(20.0)
        await audio.pause(1.2)
    assert audio.finals == ["20.", "26. 14."]  # with the lead and the pause, 27 s


async def test_a_caller_who_goes_on_after_a_story_is_transcribed_whole() -> None:
    audio = Audio(Pieces())
    for seconds, pause in ((25.0, 0.2), (5.0, 1.2), (3.0, 3.0), (1.0, 2.0)):
        await audio.speak(seconds)
        await audio.pause(pause)
    assert audio.finals == ["25. 5.", "25. 8.", "1."]


async def test_finishing_ends_a_turn_without_waiting() -> None:
    audio = await Audio(Script(UNFINISHED)).speak(1.0)
    await audio.turn.finish()
    await audio.turn.finish()
    assert audio.kinds == ["start_of_speech", "preflight_transcript", "final_transcript", "end_of_speech"]


# The stream, with the real VAD


def frames(audio: np.ndarray, seconds: float = 0.01, rate: int = RATE) -> list[rtc.AudioFrame]:
    size, samples = int(seconds * rate), to_int16(audio)
    parts = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [rtc.AudioFrame(part.tobytes(), rate, 1, len(part)) for part in parts]


async def listen(sent: list[rtc.AudioFrame], recogniser: Any = None) -> list[tuple[str, str]]:
    """Send frames as fast as they go, and return the events, without the guesses that didn't become final."""
    async with WhisperSTT(recogniser or Whisper.shared()).stream() as stream:
        for frame in sent:
            stream.push_frame(frame)
        stream.end_input()
        events = [(e.type.value, e.alternatives[0].text if e.alternatives else "") async for e in stream]
    return [event for event in events if event[0] != "preflight_transcript"]


def finals(events: list[tuple[str, str]]) -> list[str]:
    return [normalise_words(text) for kind, text in events if kind == "final_transcript"]


@pytest.mark.parametrize("frame_s", [0.01, 0.05, 5.0])
async def test_the_same_audio_makes_the_same_events_however_it_is_cut_into_frames(frame_s: float) -> None:
    audio = np.concatenate([silence(0.5), say("How long does standard delivery take?"), silence(2.0)])
    assert await listen(frames(audio, frame_s)) == [
        ("start_of_speech", ""),
        ("final_transcript", "How long does standard delivery take?"),
        ("end_of_speech", ""),
    ]


@pytest.mark.parametrize(("pause", "turns"), [(0.3, 1), (0.5, 1), (1.2, 2)])
async def test_a_caller_who_hesitates_is_not_cut_off(pause: float, turns: int) -> None:
    """A whole question would be over after 0.4 s. Who hesitates for too long is transcribed whole when they go on."""
    parts = say("Can I send back the"), silence(pause), say("shoes that I bought last week?"), silence(1.5)
    transcripts = finals(await listen(frames(np.concatenate(parts))))
    assert len(transcripts) == turns
    assert transcripts[-1].startswith("can i send back the")
    assert transcripts[-1].endswith("bought last week")


async def test_two_questions_apart_are_two_turns() -> None:
    parts = say("Do you sell gift cards?"), silence(2.6), say("Where can I see the status of my order?"), silence(1.5)
    transcripts = finals(await listen(frames(np.concatenate(parts))))
    assert transcripts == ["do you sell gift cards", "where can i see the status of my order"]


async def test_hiss_begins_no_turn() -> None:
    hiss = np.random.default_rng(0).normal(0, 0.02, 2 * RATE).astype(np.float32)
    assert finals(await listen(frames(np.concatenate([hiss, silence(1.0)])))) == []


async def test_frames_of_another_rate_are_resampled() -> None:
    audio = np.repeat(np.concatenate([say("Do you sell gift cards?"), silence(1.0)]), 3)
    assert finals(await listen(frames(audio, rate=48_000))) == ["do you sell gift cards"]


async def test_input_that_ends_in_mid_sentence_is_transcribed() -> None:
    assert finals(await listen(frames(say("Do you sell gift cards?")))) == ["do you sell gift cards"]


async def test_flushing_ends_a_turn_at_once() -> None:
    async with WhisperSTT(Whisper.shared()).stream() as stream:
        for frame in frames(say("Do you sell gift cards?")):
            stream.push_frame(frame)
        stream.flush()
        kinds = [(await anext(stream)).type.value for _ in range(4)]
    assert kinds == ["start_of_speech", "preflight_transcript", "final_transcript", "end_of_speech"]


async def test_a_microphone_that_is_muted_in_mid_word_ends_the_turn() -> None:
    async with WhisperSTT(Whisper.shared()).stream() as stream:
        for frame in frames(say("Where is my parcel?")[: int(0.9 * RATE)]):
            stream.push_frame(frame)
        kinds = [(await anext(stream)).type.value for _ in range(4)]
    assert kinds == ["start_of_speech", "preflight_transcript", "final_transcript", "end_of_speech"]


async def test_closing_during_recognition_gives_no_transcript() -> None:
    slow = Slow(QUESTION)
    async with WhisperSTT(slow).stream() as stream:  # type: ignore[arg-type]
        for frame in frames(np.concatenate([say("Where is my parcel?"), silence(1.0)])):
            stream.push_frame(frame)
        await slow.started.wait()
    slow.release.set()
    assert [event.type.value async for event in stream] == []


def fail(*_: object) -> None:
    raise RuntimeError("broken on purpose")


@pytest.mark.parametrize("broken", ["faqlab.voice.stt.VAD", "faqlab.voice.whisper.Whisper.recognise"])
async def test_a_failure_is_one_that_livekit_agents_reports(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr(broken, fail)
    with pytest.raises(APIError, match="speech recognition failed: broken on purpose"):
        await listen(frames(np.concatenate([say("Where is my parcel?"), silence(1.0)])))
