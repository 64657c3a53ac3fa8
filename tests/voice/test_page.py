"""The caller's page in a real Chromium, its fake microphone playing questions spoken by the offline voice."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal
from conftest import plain
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from scipy.signal import resample_poly

from faqlab.voice.caller import Caller
from faqlab.voice.demo import LiveDemo
from faqlab.voice.page import WEB, build_page
from faqlab.voice.sfu import LiveKit, LocalServer
from faqlab.voice.speech import SAMPLE_RATE, Voice, to_int16
from faqlab.voice.tokens import TokenOptions, TokenServer

QUESTION = "Can I return shoes that do not fit?"
ANSWERED_MS = 30_000
HOW_TO_GET_ONE = (
    "These tests need a browser and found none: install Chromium or Chrome so that it is on PATH, "
    f"or run `{sys.executable} -m playwright install --with-deps chromium`."
)


@pytest.fixture(scope="session")
def chromium() -> str | None:
    """A Chromium on PATH, else Playwright's own (None), else Debian's package."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    if subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"]).returncode == 0 and _starts(None):
        return None
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run("apt-get update -q && apt-get install -qy chromium", shell=True)
        if path := shutil.which("chromium"):
            return path
    raise RuntimeError(HOW_TO_GET_ONE)


def _starts(path: str | None) -> bool:
    with sync_playwright() as playwright:
        try:
            playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]).close()
        except PlaywrightError:
            return False
        return True


@pytest.fixture(scope="session")
def question_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears: silence while the agent greets, the question, silence. Chromium wants 48 kHz."""
    silence = np.zeros(9 * SAMPLE_RATE, np.float32)
    audio = np.concatenate([silence, Voice.shared().speak_all(QUESTION), silence, silence])
    path = tmp_path_factory.mktemp("microphone") / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(2 * SAMPLE_RATE)
        file.writeframes(to_int16(resample_poly(audio, 2, 1)).tobytes())
    return path


@contextmanager
def browser(path: str | None, *arguments: str) -> Iterator[Browser]:
    options = ["--autoplay-policy=no-user-gesture-required", *arguments]
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield launched
        finally:
            launched.close()


FAKE_DEVICE = "--use-fake-device-for-media-stream"
GRANTED = "--use-fake-ui-for-media-stream"


def microphone(file: Path) -> tuple[str, ...]:
    return (
        GRANTED,
        FAKE_DEVICE,
        f"--use-file-for-fake-audio-capture={file}%noloop",
    )


LOUDNESS = """() => {
    window.loudest = 0;
    const context = new AudioContext();
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
}"""


def test_a_person_joins_asks_hears_reads_and_leaves(demo: LiveDemo, chromium: str | None, question_file: Path) -> None:
    with page_at(demo.url, chromium, *microphone(question_file)) as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.reload()  # now with every request seen
        page.evaluate(LOUDNESS)
        page.get_by_test_id("join").click()
        answered(page)
        assert page.evaluate("window.loudest") > 0.05

        page.get_by_test_id("leave").click()
        expect(page.get_by_test_id("state")).to_have_attribute("data-state", "ended")
        expect(page.get_by_test_id("join")).to_be_visible()
        hosts = {urlsplit(url).hostname for url in requested if not url.startswith(("data:", "blob:"))}
        assert hosts == {"127.0.0.1"}


def answered(page: Page | FrameLocator) -> None:
    """The question, the answer and what it was taken from stand on *page*."""
    card = page.get_by_test_id("lookup").first
    expect(card).to_be_visible(timeout=ANSWERED_MS)
    expect(card).to_have_attribute("data-outcome", "answer")
    hits = card.get_by_test_id("hit")
    expect(hits).to_have_count(3)
    expect(hits.first).to_have_attribute("data-hit-id", "shoes")
    expect(hits.first).to_contain_text(re.compile(r"\d\.\d\d"))
    expect(card).to_contain_text("1.10")
    assistant = page.locator('[data-testid="line"][data-role="assistant"][data-final="true"] p')
    expect(assistant.nth(1)).to_have_text(re.compile("return shoes within thirty days"), timeout=ANSWERED_MS)
    caller = page.locator('[data-testid="line"][data-role="caller"] p')
    assert assistant.first.inner_text().startswith("Hello!")
    assert plain(caller.first.inner_text()) == plain(QUESTION)


@pytest.fixture
def tokens(livekit_server: LiveKit) -> Iterator[TokenServer]:
    """The page and its tokens without an agent: who joins waits in the one room of a real server."""
    build_page()
    with TokenServer(livekit_server, TokenOptions(fixed_room=f"room-{secrets.token_hex(4)}")) as tokens:
        yield tokens


@contextmanager
def page_at(url: str, chromium: str | None, *arguments: str) -> Iterator[Page]:
    """The page in a browser of its own, whose Content-Security-Policy never had to stop it."""
    with browser(chromium, *arguments) as launched:
        page = launched.new_page()
        console: list[str] = []
        page.on("console", lambda message: console.append(message.text))
        page.goto(url)
        yield page
        assert not [line for line in console if "Content Security Policy" in line]


def told_before_a_call(page: Page, words: str) -> None:
    """Join, and read *words* on the page; it asks for no token."""
    requested: list[str] = []
    page.on("request", lambda request: requested.append(urlsplit(request.url).path))
    page.get_by_test_id("join").click()
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "ready")
    assert "/getToken" not in requested


def test_a_refused_microphone_is_said_and_nobody_is_called(tokens: TokenServer, chromium: str | None) -> None:
    with page_at(tokens.url, chromium, FAKE_DEVICE, "--deny-permission-prompts") as page:
        told_before_a_call(page, "The microphone was refused.")


def test_a_missing_microphone_is_said_and_nobody_is_called(tokens: TokenServer, chromium: str | None) -> None:
    with page_at(tokens.url, chromium, GRANTED) as page:
        kinds = page.evaluate("navigator.mediaDevices.enumerateDevices().then(all => all.map(one => one.kind))")
        if "audioinput" in kinds:
            pytest.skip("Chromium cannot be told to overlook this machine's microphone")
        told_before_a_call(page, "No microphone was found.")


def join(page: Page) -> None:
    page.get_by_test_id("join").click()
    in_call(page)


def in_call(page: Page) -> None:
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "waiting")


def test_who_is_muted_is_not_heard(tokens: TokenServer, chromium: str | None) -> None:
    """In the agent's place somebody listens; the fake microphone beeps once a second."""
    with (
        page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(portal.call(another_caller, tokens)) as listener,
    ):

        def loudest() -> float:
            portal.call(listener.listen, 0.5)  # what was on its way
            return float(np.abs(portal.call(listener.listen, 1.5).audio).max(initial=0) / 2**15)

        join(page)
        mute = page.get_by_role("button", name="Mute")
        heard = [loudest()]
        for pressed in ("true", "false"):
            mute.click()
            expect(mute).to_have_attribute("aria-pressed", pressed)
            heard.append(loudest())
        before, muted, after = heard
        assert muted < 0.001 < 0.02 < min(before, after)


async def another_caller(tokens: TokenServer) -> Caller:
    """Return one whose loop is the running one."""
    with urllib.request.urlopen(tokens.url + "getToken") as response:
        token = json.load(response)
    return Caller(token["url"], token["token"])


def test_the_keyboard_alone_joins_and_leaves(tokens: TokenServer, chromium: str | None) -> None:
    with page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page:
        join_button = page.get_by_test_id("join")
        join_button.wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        in_call(page)
        expect(page.get_by_test_id("mute")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("state")).to_have_attribute("data-state", "ended")
        expect(join_button).to_be_focused()


def test_a_server_that_dies_in_mid_call_is_told_with_what_to_do(livekit_program: Path, chromium: str | None) -> None:
    build_page()
    server = LocalServer(livekit_program)
    with (
        server as livekit,
        TokenServer(livekit) as tokens,
        page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page,
    ):
        join(page)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        state, alert = page.get_by_test_id("state"), page.get_by_role("alert")
        expect(state).to_have_attribute("data-state", "reconnecting")
        expect(alert).to_contain_text("The connection to the LiveKit server was lost.", timeout=30_000)
        expect(alert).to_contain_text("start it again")
        expect(state).to_have_attribute("data-state", "ended")

        page.get_by_test_id("join").click()
        expect(alert).to_contain_text(f"The LiveKit server at {urlsplit(livekit.url).netloc} cannot be reached.")


def test_an_expired_token_is_told_and_the_next_one_joins(
    livekit_server: LiveKit, tokens: TokenServer, chromium: str | None
) -> None:
    expired = TokenOptions(ttl=-timedelta(minutes=5))
    with (
        TokenServer(livekit_server, expired) as stale,
        page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page,
    ):
        page.route(
            "**/getToken", lambda route: route.fulfill(response=route.fetch(url=stale.url + "getToken")), times=1
        )
        page.get_by_test_id("join").click()
        expect(page.get_by_role("alert")).to_contain_text(
            "The token for this call has expired. Press Join for a new one"
        )
        join(page)
        expect(page.get_by_role("alert")).to_have_count(0)


WATCH_FOR_RECONNECTING = """() => {
    const state = document.querySelector('[data-testid=state]');
    window.reconnecting = new Promise(resolve => {
        new MutationObserver(() => state.dataset.state === 'reconnecting' && resolve(state.textContent))
            .observe(state, {attributes: true, childList: true, characterData: true, subtree: true});
    });
}"""
RECONNECTING = "() => Promise.race([window.reconnecting, new Promise(resolve => setTimeout(resolve, 3000, ''))])"


def test_a_connection_that_breaks_off_is_told_and_restored(tokens: TokenServer, chromium: str | None) -> None:
    with page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page:
        join(page)
        page.evaluate(WATCH_FOR_RECONNECTING)  # on one machine it is restored sooner than one looks
        for _ in range(5):  # livekit-client looks once whether the network is back, which can be too soon
            for offline in (True, False):
                page.context.set_offline(offline)
            if words := page.evaluate(RECONNECTING):  # `wait_for_function` is refused by the page's policy
                break
        assert "trying to restore it" in words
        in_call(page)
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_double_click_makes_one_call_that_stays_also_when_joining_again(
    tokens: TokenServer, chromium: str | None
) -> None:
    """Leave comes up where Join again was, and the other way round: the second click must not hang up, or join."""
    with page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/getToken") else None)
        for calls in (1, 2):
            page.get_by_test_id("join").dblclick()
            in_call(page)
            expect(page.get_by_test_id("mute")).to_have_attribute("aria-pressed", "false")
            assert len(asked) == calls
            page.get_by_test_id("leave").dblclick()
            expect(page.get_by_test_id("join")).to_have_text("Join again")
        page.wait_for_timeout(500)
        assert len(asked) == 2


def test_mute_pressed_twice_in_quick_succession_is_pressed_twice(tokens: TokenServer, chromium: str | None) -> None:
    with page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page:
        join(page)
        page.wait_for_timeout(600)  # what comes sooner may be the second half of a double click on Join
        page.get_by_test_id("mute").dblclick()
        page.wait_for_timeout(200)
        expect(page.get_by_test_id("mute")).to_have_attribute("aria-pressed", "false")
        page.get_by_test_id("mute").click(click_count=3)
        expect(page.get_by_test_id("mute")).to_have_attribute("aria-pressed", "true")


def test_a_tab_that_is_closed_leaves_the_room_at_once(tokens: TokenServer, chromium: str | None) -> None:
    with (
        page_at(tokens.url, chromium, GRANTED, FAKE_DEVICE) as page,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(portal.call(another_caller, tokens)) as listener,
    ):

        def comes_to(others: int) -> bool:
            deadline = time.monotonic() + 3
            while len(listener.room.remote_participants) != others and time.monotonic() < deadline:
                time.sleep(0.05)
            return time.monotonic() < deadline

        join(page)
        assert comes_to(1)
        page.close()
        assert comes_to(0)


BAR = """
<li data-beyond="false" style="--far: 50%; --limit: 25%">
    <span class="track" style="display: block; width: 200px">
        <span class="fill"></span><span class="limit"></span>
    </span>
</li>
<button class="button" aria-pressed="true">Mute</button> <button class="button" aria-pressed="false">Mute</button>
"""


def test_in_forced_colours_the_limit_shows_in_its_bar_and_mute_shows_that_it_is_pressed(chromium: str | None) -> None:
    with browser(chromium) as launched:
        page = launched.new_page(forced_colors="active")
        page.set_content(f"<style>{(WEB / 'src' / 'styles.css').read_text()}</style>{BAR}")

        def background(selector: str) -> str:
            return str(page.locator(selector).evaluate("element => getComputedStyle(element).backgroundColor"))

        assert len({background(".track"), background(".fill"), background(".limit")}) == 3
        assert background("[aria-pressed=true]") != background("[aria-pressed=false]")


@pytest.fixture
def jupyterlab(tmp_path: Path, short_faq: Path, short_config: Path, livekit_program: Path) -> Iterator[str]:
    """A JupyterLab with one notebook that starts the demo and shows its page; the notebook's link."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("from faqlab.voice.demo import LiveDemo\nLiveDemo().start().page()")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "talk.ipynb")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "LIVEKIT_"))},
        "FAQLAB_FAQS": str(short_faq),
        "FAQLAB_RETRIEVAL": str(short_config),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(livekit_program.parents[1]),
    }
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            link = next(
                found[0] for line in server.stderr if (found := re.search(r"http://127\S+/lab\?token=\S+", line))
            )
            drain = threading.Thread(target=server.stderr.read, daemon=True)
            drain.start()
            yield link.replace("/lab?", "/lab/tree/talk.ipynb?")
        finally:
            server.terminate()
            server.wait(20)


def test_the_page_works_inside_jupyterlab(jupyterlab: str, chromium: str | None, question_file: Path) -> None:
    with browser(chromium, *microphone(question_file)) as launched:
        page = launched.new_page(viewport={"width": 1200, "height": 900})
        page.goto(jupyterlab)
        page.locator(".jp-Notebook .cm-content").first.click(timeout=60_000)
        page.keyboard.press("Shift+Enter")
        frame = page.frame_locator("iframe[src^='http://127.0.0.1']")
        frame.get_by_test_id("join").click(timeout=60_000)
        answered(frame)
        frame.get_by_test_id("leave").click()
        expect(frame.get_by_test_id("state")).to_have_attribute("data-state", "ended")
