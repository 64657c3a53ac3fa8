"""How long the STT waits after what was said."""

from __future__ import annotations

import numpy as np
import pytest
from livekit.local_inference import VAD_WINDOW_SAMPLES
from spoken_audio import RATE, say, silence

from faqlab.voice.endpointing import LONGEST_S, SURE_S, UNSURE_S, completeness, wait_after
from faqlab.voice.whisper import Transcript, Whisper

ENDS, BREAKS_OFF, GOES_ON = (0.99, 0.0, 0.0, 0.01), (0.1, 0.6, 0.1, 0.1), (0.5, 0.1, 0.2, 0.1)


def test_the_surer_the_end_the_shorter_the_wait_within_its_limits() -> None:
    text = "How long does it take to deliver?"
    waits = [wait_after(Transcript(text, endings=endings)) for endings in (ENDS, GOES_ON, BREAKS_OFF)]
    assert SURE_S == waits[0] < UNSURE_S < waits[1] < waits[2] == LONGEST_S
    assert wait_after(Transcript("")) == LONGEST_S


@pytest.mark.parametrize("text", ["It's 447.", "My order number is 447 19 2", "That's spelled P-E-T-E."])
def test_a_number_or_a_spelled_name_may_go_on(text: str) -> None:
    sentence = "It's the blue one that I bought."
    assert wait_after(Transcript(text, endings=ENDS)) > wait_after(Transcript(sentence, endings=ENDS))


@pytest.mark.parametrize(
    ("whole", "beginning"),
    [
        ("How long does standard delivery take to the islands?", "How long does your"),
        ("Can I send back the shoes that I bought last week?", "Can I send back the shoes that I"),
        ("I want to cancel the order that I placed this morning.", "I want to cancel the order that my"),
        ("Where can I see whether my parcel has left the warehouse?", "Where can I see whether my"),
    ],
)
def test_whole_sentences_are_more_complete_than_their_beginnings(whole: str, beginning: str) -> None:
    end, middle = (Whisper.shared().recognise(with_silence(part)) for part in (whole, beginning))
    assert completeness(end) > completeness(middle) + 1
    assert wait_after(end) < 0.6 < wait_after(middle)


def with_silence(text: str) -> np.ndarray:
    return np.concatenate([say(text), silence(3 * VAD_WINDOW_SAMPLES / RATE)])
