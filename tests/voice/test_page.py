"""The caller's page in a real Chromium, which plays synthesized questions into its microphone, or has none."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal
from urllib.parse import urlsplit

import pytest
from conftest import wait_until
from playwright.sync_api import Page, expect

from benchmarks.browser import MICROPHONE, browser, find_or_install, say
from faqlab.lookup_log import load_records
from faqlab.voice.demo import LiveDemo
from faqlab.voice.token_server import PAGE

WEB = PAGE.parent
PATIENCE_MS = 120_000
expect.set_options(timeout=PATIENCE_MS)

SOUND = """
window.loudest = 0;
setInterval(() => {
    for (const element of document.querySelectorAll('audio')) {
        if (!element.srcObject || element.measured) continue;
        element.measured = true;
        const meter = new AudioContext().createAnalyser();
        meter.context.createMediaStreamSource(element.srcObject).connect(meter);
        const samples = new Float32Array(meter.fftSize);
        setInterval(() => {
            meter.getFloatTimeDomainData(samples);
            window.loudest = Math.max(window.loudest, ...samples.map(Math.abs));
        }, 50);
    }
}, 50);
"""
# The microphone comes once the test allows it, for each time that the page has asked.
PERMISSION = """
const openAtOnce = navigator.mediaDevices.getUserMedia;
window.requests = [];
window.tracks = [];
navigator.mediaDevices.getUserMedia = async () => {
    await new Promise(allow => window.requests.push(allow));
    const stream = await openAtOnce();
    window.tracks.push(...stream.getTracks());
    return stream;
};
"""
ALLOW = "window.requests.forEach(allow => allow())"
TRACKS = "expected => JSON.stringify(window.tracks.map(track => track.readyState)) === JSON.stringify(expected)"


@pytest.fixture(scope="session")
def chromium() -> str | None:
    return find_or_install()


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
        page.add_init_script(SOUND + MICROPHONE)
        requested: list[str] = []
        console: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: console.append(message.text))
        page.goto(f"{demo.url}?details")
        state, join, leave = (page.get_by_test_id(name) for name in ("state", "join", "leave"))
        expect(state).to_have_attribute("data-state", "ready")
        assert page.title() == "Ask the FAQ"

        page.get_by_test_id("check").click()
        expect(page.get_by_test_id("meter")).to_be_visible()
        page.get_by_test_id("theme").focus()
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
        expect(page.get_by_test_id("mute")).to_have_text("Unmute")
        expect(state).to_have_attribute("data-state", "muted")
        leave.click()
        expect(state).to_have_attribute("data-state", "ended")
        expect(join).to_be_visible()
        hosts = {urlsplit(url).hostname for url in requested if not url.startswith(("data:", "blob:"))}
        assert hosts == {"127.0.0.1"}
        assert not [line for line in console if "Content Security Policy" in line]


def test_without_a_microphone_a_person_taps_types_chooses_hears_and_rates(demo: LiveDemo, chromium: str | None) -> None:
    with browser(chromium, microphone=False) as launched:
        page = launched.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(SOUND)
        page.goto(demo.url)
        expect(page.locator(".privacy")).to_contain_text("saved as text, and so is whether an answer helped")
        page.get_by_test_id("example").filter(has_text="Where is my parcel?").click()
        lines = page.locator('[data-testid="line"]')
        answers = lines.and_(page.locator('[data-role="assistant"]'))
        expect(answers.filter(has_text="Follow the link in your shipping email.")).to_be_visible()
        page.get_by_test_id("helpful").click()
        expect(page.get_by_test_id("state")).to_have_attribute("data-state", "reading")
        assert page.evaluate("window.loudest") > 0.05

        page.get_by_test_id("question").fill("Can I return it?")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("choice")).to_have_count(2)
        page.get_by_test_id("choice").filter(has_text="gift").click()
        expect(answers.filter(has_text="Yes, with the gift receipt.")).to_be_visible()
        asked = ["Where is my parcel?", "Can I return it?", "Can I return a gift?"]
        expect(lines.and_(page.locator('[data-role="caller"]')).locator("p")).to_have_text(asked)
        assert page.get_by_test_id("lookup").count() == 0, "the evidence is for whoever asks for the details"

        page.get_by_test_id("mute").click()
        expect(page.get_by_test_id("problem")).to_contain_text("No microphone was found. You can type your questions.")
        page.get_by_test_id("leave").click()
        expect(page.get_by_test_id("state")).to_have_attribute("data-state", "ended")
    wait_until(lambda: [record.query for record in demo.calls.records][-3:] == asked)
    first, _, last = demo.calls.records[-3:]
    assert (first.helpful, last.helpful, last.reason) == (True, None, "chosen")
    assert demo.settings.records
    saved = {record.id: record.helpful for record in load_records(demo.settings.records)}
    assert (saved[first.id], saved[last.id]) == (True, None)


def test_questions_typed_at_once_are_answered_in_turn_and_the_callers_own_is_in_view(
    demo: LiveDemo, chromium: str | None
) -> None:
    """The first one starts the call, and the others are typed before it is connected."""
    asked = {"Where is my parcel?": "Follow the link", "How can I pay?": "by card", "Do you deliver abroad?": "forty"}
    with browser(chromium, microphone=False) as launched:
        page = launched.new_page(viewport={"width": 390, "height": 480})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(demo.url)
        for question in asked:
            page.get_by_test_id("question").fill(question)
            page.keyboard.press("Enter")
        lines = page.locator('[data-testid="line"]')
        expect(lines.filter(has_text="forty countries")).to_be_visible()
        texts = [text for text in lines.all_inner_texts() if "Hello!" not in text]  # cut off by the first question
        places = [next(n for n, text in enumerate(texts) if words in text) for pair in asked.items() for words in pair]
        assert places == [*range(places[0], places[0] + 6)], texts

        page.get_by_test_id("transcript").evaluate("it => it.scrollTo(0, 0)")
        expect(lines.filter(has_text="forty countries")).not_to_be_in_viewport()
        page.get_by_test_id("question").fill("Can I return shoes?")
        page.keyboard.press("Enter")
        expect(lines.filter(has_text="Can I return shoes?")).to_be_in_viewport()
        page.get_by_test_id("leave").click()
    wait_until(lambda: [record.query for record in demo.calls.records][-3:-1] == [*asked][1:])


def test_a_microphone_allowed_late_is_stopped_and_one_asked_for_twice_opens_once(
    demo: LiveDemo, chromium: str | None
) -> None:
    with browser(chromium) as launched:
        page = launched.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(MICROPHONE + PERMISSION)
        page.goto(demo.url)
        state = page.get_by_test_id("state")
        page.get_by_test_id("check").click()
        page.get_by_test_id("example").first.click()
        expect(state).to_have_attribute("data-state", "reading")
        page.evaluate(ALLOW)
        page.wait_for_function(TRACKS, arg=["ended"])
        expect(page.get_by_test_id("mute")).to_have_text("Turn on microphone")

        for _ in range(2):
            page.get_by_test_id("mute").dispatch_event("click")
        page.evaluate(ALLOW)
        expect(state).to_have_attribute("data-state", "listening")
        assert page.evaluate(TRACKS, ["ended", "live"])
        page.get_by_test_id("leave").click()
        page.wait_for_function(TRACKS, arg=["ended", "ended"])


NETWORK = (
    "ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add 10.9.9.9/24 dev v0 && "
    'ip link set v0 up && ip link set v1 up && ip route add default via 10.9.9.1 dev v0 && exec "$@"'
)
OWN_NETWORK = ["unshare", "-rn", "sh", "-c", NETWORK, "-"]
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

if FIREFOX and shutil.which("unshare") and not subprocess.run([*OWN_NETWORK, "true"], capture_output=True).returncode:

    def test_a_person_calls_in_firefox(short_faq: Path, short_config: Path) -> None:
        script = Path(__file__).with_name("firefox_call.py")
        command = [*OWN_NETWORK, sys.executable, str(script), str(FIREFOX), str(short_faq), str(short_config)]
        proxies = {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}
        environment = {name: value for name, value in os.environ.items() if name not in proxies}
        ran = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        seen = json.loads(ran.stdout)
        assert seen["lines"][0] == "Where is my parcel?"
        assert seen["lines"][-1] == "Follow the link in your shipping email."
        assert seen["played"]

else:
    warnings.warn("Without Firefox, and a separate network for it, the page is tested in Chromium only.", stacklevel=1)


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page's states without a server."""
    folder = tmp_path_factory.mktemp("story")
    npm = str(Path(sys.executable).with_name("npm"))
    build = [npm, "--prefix", str(WEB), "run", "--silent", "story", "--", "--outDir", str(folder), "--logLevel", "warn"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(build, check=True, env={**os.environ, "PATH": path})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


AXE = """axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
    .then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes[0].html}`))"""


@pytest.mark.parametrize(("width", "scheme", "more"), [(1280, "dark", "&details&gemini"), (390, "light", "")])
def test_no_state_of_the_page_has_a_barrier_or_is_too_wide(
    story: str, chromium: str | None, width: int, scheme: Literal["dark", "light"], more: str
) -> None:
    axe = (WEB / "node_modules/axe-core/axe.min.js").read_text()
    with browser(chromium) as launched:
        page = launched.new_page(color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 800})
        page.goto(story)
        states = (page.locator("[data-states]").get_attribute("data-states") or "").split()
        assert len(states) > 20
        found = {}
        for state in states:
            page.goto(f"{story}?state={state}{more}")
            expect(page.get_by_role("main")).to_be_visible()
            page.evaluate(axe)
            found[state] = page.evaluate(AXE)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, state
    assert not {state: problems for state, problems in found.items() if problems}


BAR = """
<li style="--share: 50%"><span class="track" style="display: block; width: 200px"><span class="fill"></span></span></li>
<button class="button" data-off="true">Unmute</button> <button class="button" data-off="false">Mute</button>
"""


def test_in_forced_colours_the_bar_shows_its_length_and_muted_looks_different(chromium: str | None) -> None:
    styles = "".join(path.read_text() for path in (PAGE / "assets").glob("*.css"))
    with browser(chromium) as launched:
        page = launched.new_page(forced_colors="active")
        page.set_content(f"<style>{styles}</style>{BAR}")

        def background(selector: str) -> str:
            return str(page.locator(selector).evaluate("element => getComputedStyle(element).backgroundColor"))

        assert background(".track") != background(".fill")
        assert background("[data-off=true]") != background("[data-off=false]")
