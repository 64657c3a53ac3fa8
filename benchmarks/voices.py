"""
Speech in several voices and conditions.

hibari is always there. flite and espeak-ng are programs (Debian: `apt-get install flite espeak-ng`); without
them, their voices are left out.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import joblib
import numpy as np
from scipy.io import wavfile
from scipy.signal import butter, resample_poly, sosfilt

from faqlab.voice import tts, whisper
from faqlab.voice.tts import Synthesizer, speakable
from faqlab.voice.whisper import Transcript, Whisper

RATE = whisper.SAMPLE_RATE
FITTED = ("hibari", "flite rms", "flite kal16", "espeak en-us")
"""The voices that models of this project may be fitted to."""

HELD_OUT = ("flite slt", "flite awb", "espeak en-gb", "espeak en-gb-scotland")
"""The voices that such models are judged on."""

CONDITIONS = ("quiet", "babble", "fan", "telephone")
SNR_DB = 10.0
"""Signal-to-noise ratio of the babble and the fan."""

memory = joblib.Memory(Path(tempfile.gettempdir()) / "faqlab-voices", verbose=0)
"""Keeps speech and transcripts, so that a benchmark's second run takes seconds."""


def available(voices: tuple[str, ...] = FITTED + HELD_OUT) -> list[str]:
    """Return those of *voices* that are installed."""
    programs = {"flite": "flite", "espeak": "espeak-ng"}
    return [voice for voice in voices if voice == "hibari" or shutil.which(programs[voice.split()[0]])]


@memory.cache
def speak(text: str, voice: str, speed: float = 1.0) -> np.ndarray:
    """Return the speech for *text*: mono float32, 16 kHz, without silence at its ends; *speed* is relative."""
    program, _, name = voice.partition(" ")
    if program == "hibari":
        audio = resample_poly(Synthesizer.shared().speak_all(text, speed), RATE, tts.SAMPLE_RATE)
    else:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            flite = ["flite", "-voice", name, "--setf", f"duration_stretch={1 / speed}", "-t", speakable(text)]
            espeak = ["espeak-ng", "-v", name, "-s", f"{175 * speed:.0f}", speakable(text)]
            command = [*flite, "-o", file.name] if program == "flite" else [*espeak, "-w", file.name]
            subprocess.run(command, check=True, capture_output=True)
            rate, samples = wavfile.read(file.name)
        audio = resample_poly(samples / 32768, RATE, rate)
    audio = audio * LEVEL / max(float(np.sqrt(np.mean(audio**2))), 1e-6)
    audible = np.flatnonzero(np.abs(audio) > tts.AUDIBLE)
    return np.clip(audio[audible[0] : audible[-1] + 1], -1, 1).astype(np.float32)


@memory.cache
def recognise(audio: np.ndarray) -> Transcript:
    """Return what Whisper makes of *audio*."""
    return Whisper.shared().recognise(audio)


def under(condition: str, audio: np.ndarray) -> np.ndarray:
    """Return *audio* as it sounds in one of `CONDITIONS`."""
    if condition == "telephone":
        narrow = resample_poly(sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), audio), 1, 2)
        codes = np.round(np.sign(narrow) * np.log1p(255 * np.abs(np.clip(narrow, -1, 1))) / np.log(256) * 127)
        expanded = np.sign(codes) * (256 ** (np.abs(codes) / 127) - 1) / 255
        return resample_poly(expanded, 2, 1).astype(np.float32)
    noise = {"quiet": np.zeros, "babble": _babble, "fan": _fan}[condition](len(audio))
    power = max(float(np.mean(noise**2)), 1e-12) * 10 ** (SNR_DB / 10)
    return np.clip(audio + noise * np.sqrt(np.mean(audio**2) / power), -1, 1).astype(np.float32)


def _fan(samples: int) -> np.ndarray:
    """Noise below 500 Hz with the hum of a motor, the same at each call."""
    hiss = sosfilt(butter(2, 500, fs=RATE, output="sos"), np.random.default_rng(0).standard_normal(samples))
    return hiss + 0.2 * np.sin(2 * np.pi * 117 * np.arange(samples) / RATE)


def _babble(samples: int) -> np.ndarray:
    """Four people who talk at once."""
    mixed = np.zeros(samples)
    for voice, text in zip(available()[:4], BABBLE, strict=False):
        mixed += np.resize(speak(text, voice), samples)
    return mixed


LEVEL = 0.08  # root mean square of the speech, of full scale
BABBLE = (
    "So I told her that the train was late again, and she said that she would wait at the corner, by the bakery.",
    "We painted the kitchen at the weekend, and now the whole flat smells, but the colour is really lovely.",
    "He never calls before nine, does he? I was in the garden, and the dog ran off with one of my gloves.",
    "They are moving to the coast in spring. The children are happy, but their grandmother is not so sure.",
)
