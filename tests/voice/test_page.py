"""The caller's page in a real Chromium, which plays synthesized questions into its microphone."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from faqlab.voice.demo import LiveDemo
from faqlab.voice.token_server import PAGE
from faqlab.voice.tts import SAMPLE_RATE, Synthesizer

PATIENCE_MS = 120_000
expect.set_options(timeout=PATIENCE_MS)
HOW_TO_GET_ONE = (
    "This test needs a browser and found none: install Chromium or Chrome so that it is on PATH, "
    f"or run `{sys.executable} -m playwright install --with-deps chromium`."
)

# The microphone: silence, and what the test has the caller say, so that no wait has to be guessed.
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
window.loudest = 0;
setInterval(() => {
    for (const element of document.querySelectorAll('audio')) {
        if (!element.srcObject || element.measured) continue;
        element.measured = true;
        const meter = context.createAnalyser();
        context.createMediaStreamSource(element.srcObject).connect(meter);
        const samples = new Float32Array(meter.fftSize);
        setInterval(() => {
            meter.getFloatTimeDomainData(samples);
            window.loudest = Math.max(window.loudest, ...samples.map(Math.abs));
        }, 50);
    }
}, 50);
"""


@pytest.fixture(scope="session")
def chromium() -> str | None:
    """A Chromium on PATH, else Playwright's (None), else Debian's package."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    if subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"]).returncode == 0 and starts(None):
        return None
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run("apt-get update -q && apt-get install -qy chromium", shell=True)
        if path := shutil.which("chromium"):
            return path
    raise RuntimeError(HOW_TO_GET_ONE)


def starts(path: str | None) -> bool:
    try:
        with browser(path):
            return True
    except PlaywrightError:
        return False


@contextmanager
def browser(path: str | None) -> Iterator[Browser]:
    options = [
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ]
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield launched
        finally:
            launched.close()


def say(page: Page, text: str) -> None:
    audio = base64.b64encode(Synthesizer.shared().speak_all(text).tobytes()).decode()
    page.evaluate("([audio, rate]) => window.say(audio, rate)", [audio, SAMPLE_RATE])


def expect_lookup(page: Page, number: int, outcome: str, first: str, reply: str) -> None:
    """Check the *number*th look-up on the page, and that the assistant's words come."""
    card = page.get_by_test_id("lookup").nth(number)
    expect(card).to_be_visible(timeout=PATIENCE_MS)
    expect(card).to_have_attribute("data-outcome", outcome)
    expect(card.get_by_test_id("hit").first).to_have_attribute("data-hit-id", first)
    expect(card.get_by_test_id("hit").first).to_contain_text(re.compile(r"\d\.\d\d"))
    lines = page.locator('[data-testid="line"][data-role="assistant"][data-final="true"]')
    expect(lines.filter(has_text=reply)).not_to_have_count(0)


def test_a_person_joins_asks_chooses_hears_reads_mutes_and_leaves(demo: LiveDemo, chromium: str | None) -> None:
    with browser(chromium) as launched:
        page = launched.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(MICROPHONE)
        requested: list[str] = []
        console: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: console.append(message.text))
        page.goto(demo.url)
        state, join, leave = (page.get_by_test_id(name) for name in ("state", "join", "leave"))
        expect(state).to_have_attribute("data-state", "ready")

        page.keyboard.press("Tab")  # the keyboard alone joins
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("mute")).to_be_focused()
        expect(state).to_have_attribute("data-state", "listening")

        say(page, "Can I return shoes?")
        expect_lookup(page, 0, "answer", "shoes", "within thirty days")
        say(page, "Can I return it?")
        expect_lookup(page, 1, "clarify", "gift", "Which one do you mean?")
        say(page, "I mean a gift that I was given.")
        expect_lookup(page, 2, "answer", "gift", "gift receipt")
        callers = page.locator('[data-testid="line"][data-role="caller"]')
        expect(callers.first).to_contain_text(re.compile("return shoes", re.IGNORECASE))
        assert page.evaluate("window.loudest") > 0.05

        page.get_by_test_id("mute").click()
        expect(page.get_by_test_id("mute")).to_have_attribute("aria-pressed", "true")
        leave.click()
        expect(state).to_have_attribute("data-state", "ended")
        expect(join).to_be_visible()
        hosts = {urlsplit(url).hostname for url in requested if not url.startswith(("data:", "blob:"))}
        assert hosts == {"127.0.0.1"}
        assert not [line for line in console if "Content Security Policy" in line]


BAR = """
<li style="--far: 50%"><span class="track" style="display: block; width: 200px"><span class="fill"></span></span></li>
<button class="button" aria-pressed="true">Mute</button> <button class="button" aria-pressed="false">Mute</button>
"""


def test_in_forced_colours_the_bar_shows_its_length_and_mute_shows_that_it_is_pressed(chromium: str | None) -> None:
    styles = "".join(path.read_text() for path in (PAGE / "assets").glob("*.css"))
    with browser(chromium) as launched:
        page = launched.new_page(forced_colors="active")
        page.set_content(f"<style>{styles}</style>{BAR}")

        def background(selector: str) -> str:
            return str(page.locator(selector).evaluate("element => getComputedStyle(element).backgroundColor"))

        assert background(".track") != background(".fill")
        assert background("[aria-pressed=true]") != background("[aria-pressed=false]")
