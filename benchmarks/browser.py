"""The caller's page in Chromium, with a microphone into which a program can speak, and a recorder."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from faqlab.voice.tts import SAMPLE_RATE, Synthesizer
from faqlab.voice.whisper import SAMPLE_RATE as RECORDING_RATE

MICROPHONE = """
const context = new AudioContext();
const microphone = context.createMediaStreamDestination();
const silence = context.createConstantSource();
silence.offset.value = 0;
silence.connect(microphone);
silence.start();
navigator.mediaDevices.getUserMedia = async () => microphone.stream.clone();
window.say = (base64, rate) => {
    const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
    const samples = new Float32Array(bytes.buffer);
    const buffer = context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    const speech = context.createBufferSource();
    speech.buffer = buffer;
    speech.connect(microphone);
    speech.start();
};
"""
"""The page's microphone, as an init script: silence, and what `say` has the caller say, so no wait is guessed."""

RECORDER = """
window.recorded = [];
setInterval(() => {
    for (const element of document.querySelectorAll('audio')) {
        if (!element.srcObject || element.recorded) continue;
        element.recorded = new AudioContext({sampleRate: RATE});
        const recorder = element.recorded.createScriptProcessor(4096, 1, 1);
        recorder.onaudioprocess = event => window.recorded.push(event.inputBuffer.getChannelData(0).slice());
        element.recorded.createMediaStreamSource(element.srcObject).connect(recorder);
        recorder.connect(element.recorded.destination);
    }
}, 50);
window.takeRecorded = async () => {
    const parts = window.recorded.splice(0);
    const reader = new FileReader();
    const read = new Promise(done => reader.onload = () => done(reader.result));
    reader.readAsDataURL(new Blob(parts));
    return (await read).split(',')[1] ?? '';
};
""".replace("RATE", str(RECORDING_RATE))
"""Records what the page plays, as an init script, for `take_recorded`."""


def installed() -> str | None:
    """Return the path of a Chromium or Chrome on PATH; None if there is none, for Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def find_or_install() -> str | None:
    """Return the path of a browser on PATH; else None, for Playwright's, which is installed; else Debian's package."""
    if path := installed():
        return path
    if subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"]).returncode == 0 and starts(None):
        return None
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run("apt-get update -q && apt-get install -qy chromium", shell=True)
        if path := shutil.which("chromium"):
            return path
    raise RuntimeError(HOW_TO_GET_ONE)


HOW_TO_GET_ONE = (
    "This test needs a browser and found none: install Chromium or Chrome so that it is on PATH, "
    f"or run `{sys.executable} -m playwright install --with-deps chromium`."
)


def starts(path: str | None) -> bool:
    """Return whether the browser at *path* starts."""
    try:
        with browser(path):
            return True
    except PlaywrightError:
        return False


@contextmanager
def browser(path: str | None, microphone: bool = True) -> Iterator[Browser]:
    """Yield a headless Chromium, Playwright's own if *path* is None; without *microphone*, it has none."""
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] if microphone else []
    options.append("--autoplay-policy=no-user-gesture-required")
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield launched
        finally:
            launched.close()


def say(page: Page, text: str) -> None:
    """Speak *text* into the microphone of a page that has `MICROPHONE`."""
    audio = base64.b64encode(Synthesizer.shared().speak_all(text).tobytes()).decode()
    page.evaluate("([audio, rate]) => window.say(audio, rate)", [audio, SAMPLE_RATE])


def take_recorded(page: Page) -> np.ndarray:
    """Return what a page with `RECORDER` has played since the last time: mono float32, 16 kHz."""
    return np.frombuffer(base64.b64decode(page.evaluate("window.takeRecorded()")), np.float32)
