"""Synthesize `replies.HOLD` for calls on Gemini, which load no speech model: `python -m training.hold`."""

from __future__ import annotations

import wave
from pathlib import Path

from faqlab import replies
from faqlab.voice.tts import SAMPLE_RATE, Synthesizer, to_int16

PATH = Path(__file__).resolve().parents[1] / "faqlab/voice/hold.wav"


def main() -> None:
    """Write `PATH`: mono, 16 bits, 24 kHz."""
    with wave.open(str(PATH), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(to_int16(Synthesizer.shared().speak_all(replies.HOLD)).tobytes())


if __name__ == "__main__":
    main()
