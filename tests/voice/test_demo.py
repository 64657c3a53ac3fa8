"""The whole demo, as one object and as one command: what it starts, what it leaves alone, what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import caller_of, keyless, wait_until
from livekit import rtc

from benchmarks import programs
from faqlab import replies
from faqlab.errors import FaqlabError
from faqlab.settings import Settings
from faqlab.voice.demo import LiveDemo
from faqlab.voice.livekit_server import LiveKit
from faqlab.voice.panel import call_panel
from faqlab.voice.services import BackgroundService, ChildProcess

QUESTION = "Can I return shoes that do not fit?"


def silent(line: str) -> None:
    """Take a progress line."""


@pytest.fixture
def own_demo(short_faq: Path, short_config: Path) -> Iterator[LiveDemo]:
    demo = LiveDemo(faqs=short_faq, config=short_config, settings=keyless(), progress=silent)
    yield demo
    demo.stop()


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def services() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("faqlab")}


def process(demo: LiveDemo, part: int) -> ChildProcess:
    """Return a part of *demo*: 0 is livekit-server, -1 the agent."""
    found = demo._parts[part]
    assert isinstance(found, ChildProcess)
    return found


def test_it_leaves_signals_environment_and_logging_as_they_were_and_can_start_again(own_demo: LiveDemo) -> None:
    def state() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        root = logging.getLogger()
        return handlers, dict(os.environ), list(root.handlers), root.level, logging.getLogger("livekit").propagate

    before = state()
    for _ in range(2):
        assert own_demo.start() is own_demo
        assert state() == before
        url = own_demo.url
        assert own_demo.start().url == url
        assert urllib.request.urlopen(url).status == 200
        own_demo.stop()
        own_demo.stop()
        assert state() == before
        with pytest.raises(FaqlabError, match="isn't running"):
            own_demo.url  # noqa: B018


def test_starts_and_stops_leave_no_process_thread_or_file_handle(own_demo: LiveDemo) -> None:
    own_demo.start()
    own_demo.stop()  # what was imported and first used stays open
    processes, threads, handles = children(), services(), psutil.Process().num_fds()
    for _ in range(3):
        own_demo.start()
        own_demo.stop()
        gc.collect()
        assert children() == processes
        assert services() == threads
    wait_until(lambda: psutil.Process().num_fds() <= handles)  # a socket may close a moment later


@pytest.mark.parametrize("interrupted", [1, 2, 3])
def test_an_interrupted_start_leaves_nothing_running(
    own_demo: LiveDemo, monkeypatch: pytest.MonkeyPatch, interrupted: int
) -> None:
    processes, threads, start, starts = children(), services(), BackgroundService.start, []

    def interrupt(self: Any) -> Any:
        start(self)
        starts.append(self)
        if len(starts) == interrupted:
            signal.raise_signal(signal.SIGINT)
        return self

    with monkeypatch.context() as patch:
        patch.setattr(BackgroundService, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            own_demo.start()
    assert not own_demo.running
    assert (children(), services()) == (processes, threads)
    assert own_demo.start().running


def test_what_cannot_be_used_is_an_error_and_nothing_is_left_running(short_faq: Path, tmp_path: Path) -> None:
    processes = children()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FaqlabError, match=f"Port {port}"):
            LiveDemo(faqs=short_faq, port=port, settings=keyless(), progress=silent).start()
    with pytest.raises(FaqlabError, match=r"none\.json"):
        LiveDemo(faqs=tmp_path / "none.json", settings=keyless(), progress=silent).start()
    with pytest.raises(FaqlabError, match="records"):
        LiveDemo(records=short_faq / "records", settings=keyless(), progress=silent)
    assert children() == processes


def test_it_says_which_voice_and_server_it_uses_and_no_secret(
    livekit_server: LiveKit, short_faq: Path, short_config: Path
) -> None:
    named = Settings(
        google_api_key=None,
        livekit_url=livekit_server.url,
        livekit_api_key=livekit_server.api_key,
        livekit_api_secret=livekit_server.api_secret,
    )
    lines: list[str] = []
    with LiveDemo(faqs=short_faq, config=short_config, settings=named, progress=lines.append) as demo:
        assert lines[0] == f"LiveKit server: {livekit_server.url}."
        assert "offline models" in " ".join(lines)
        assert lines[-1] == f"Ready at {demo.url} with 5 entries from short.json."
    assert livekit_server.api_secret not in " ".join(lines)


@pytest.mark.parametrize("part", [0, -1])
def test_a_part_that_is_killed_is_started_again_and_said(own_demo: LiveDemo, part: int) -> None:
    notices: list[str] = []
    panel: Any = call_panel(own_demo.start())
    url, killed = own_demo.url, process(own_demo, part)
    own_demo.watchers.append(lambda: notices.append(own_demo.notice))
    psutil.Process(killed.pid).kill()
    while len(notices) < 2:
        time.sleep(0.02)
    assert notices[0] == f"{killed.name} stopped unexpectedly (signal 9); it is started again."
    assert notices[-1] == f"{killed.name} is running again."
    assert "is running again." in panel.children[0].children[1].value
    assert own_demo.url == url and urllib.request.urlopen(url).status == 200


def test_a_suspended_agent_and_a_failing_watcher_do_not_end_the_supervision(own_demo: LiveDemo) -> None:
    def fails() -> None:
        notices.append(own_demo.notice)
        raise ZeroDivisionError

    notices: list[str] = []
    own_demo.start().watchers.append(fails)
    psutil.Process(process(own_demo, -1).pid).send_signal(signal.SIGSTOP)
    while "The agent is running again." not in notices:
        time.sleep(0.02)
    assert notices[0] == "The agent stopped unexpectedly (it was suspended); it is started again."


def test_a_part_that_has_ended_for_good_is_said_and_starts_again(
    own_demo: LiveDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faqlab.voice.services.RESTARTS", 0)
    psutil.Process(process(own_demo.start(), 0).pid).kill()
    while own_demo.running:
        time.sleep(0.02)
    with pytest.raises(FaqlabError, match=r"call its start\(\)\. livekit-server stopped unexpectedly \(signal 9\)\."):
        own_demo.url  # noqa: B018
    assert urllib.request.urlopen(own_demo.start().url).status == 200
    own_demo.stop()
    assert own_demo.problem is None


def test_the_panel_shows_the_look_ups_and_stops_the_demo_each_time(own_demo: LiveDemo, demo: LiveDemo) -> None:
    panel: Any = call_panel(own_demo)
    stop, state = panel.children[0].children
    for _ in range(2):
        assert state.value == "Not running." and stop.disabled
        own_demo.start()
        assert own_demo.url in state.value and not stop.disabled
        stop.click()
        assert not own_demo.running
    own_demo.start()
    own_demo.stop()
    assert state.value == "Not running." and stop.disabled


# Calls


async def test_a_caller_whose_connection_is_lost_comes_back_and_is_answered(demo: LiveDemo) -> None:
    panel: Any = call_panel(demo)
    async with caller_of(demo) as caller:
        await caller.greeting()
        reconnected, heard = asyncio.Event(), asyncio.Event()
        caller.room.on("reconnected", lambda *_: reconnected.set())
        caller.room.on("local_track_subscribed", lambda *_: heard.set())
        await caller.room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await asyncio.gather(reconnected.wait(), heard.wait())  # what is said before then gets lost
        exchange = await caller.ask("Where is my parcel?")
    assert exchange.lookups[-1]["hits"][0]["id"] == "parcel"
    assert "shipping email" in exchange.reply
    assert ">Where is my parcel?</td>" in panel.children[1].value


@pytest.mark.parametrize("part", [0, -1])
async def test_a_call_whose_server_or_agent_is_killed_goes_on(own_demo: LiveDemo, part: int) -> None:
    await asyncio.to_thread(own_demo.start)
    async with caller_of(own_demo) as caller:
        await caller.greeting()
        reconnected = asyncio.Event()
        caller.room.on("local_track_subscribed", lambda *_: reconnected.set())
        psutil.Process(process(own_demo, part).pid).kill()
        assert (await caller.greeting()).reply == replies.CUT_OFF
        if part == 0:  # what is said before then gets lost
            await reconnected.wait()
        exchange = await caller.ask("Where is my parcel?")
    assert exchange.lookups[-1]["hits"][0]["id"] == "parcel"


SCRIPT = """
import logging, sys
from livekit import rtc
from benchmarks.scripted_caller import call
from faqlab.voice.demo import LiveDemo

if __name__ == "__main__":
    with LiveDemo(records=sys.argv[1]) as demo:
        table = call(demo, ["Where is my parcel?", "Who won the chess tournament?"], at_once=1)
        rtc.room.logging.info("as it does for a text stream that nobody reads")
        logging.getLogger("mine").warning("a warning of the user's")
        assert not logging.getLogger().handlers
    print("TABLE " + table.to_json(orient="records"))
"""


def test_without_a_network_calls_are_answered_and_recorded(tmp_path: Path, short_faq: Path, short_config: Path) -> None:
    # LiveKit's Python SDK looks for an interface other than loopback, wherever that leads.
    nowhere = "ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add 10.9.9.9/24 dev v0"
    prefix = ["unshare", "-rn", "sh", "-c", f'{nowhere} && ip link set v0 up && ip link set v1 up && exec "$@"', "-"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        prefix = []  # a network namespace isn't allowed here: proxies that refuse have to do
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    ran = subprocess.run(
        [*prefix, sys.executable, "-c", SCRIPT, str(tmp_path / "records")],
        env=environment(short_faq, short_config, HF_HUB_OFFLINE="1", **proxies),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "a warning of the user's\n"
    first, second = json.loads(ran.stdout.split("TABLE ")[1])
    assert (first["outcome"], first["retrieved"][0], "shipping email" in first["reply"]) == ("answer", "parcel", True)
    assert second["outcome"] == "decline"
    [file] = (tmp_path / "records").iterdir()
    assert [json.loads(line)["outcome"] for line in file.read_text().splitlines()] == ["answer", "decline"]
    assert file.stat().st_mode & 0o077 == 0


def test_serve_lets_callers_in_until_ctrl_c_and_leaves_nothing(short_faq: Path, short_config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "faqlab", "serve", "--port", str(port)],
        env=environment(short_faq, short_config, PYTHONUNBUFFERED="1"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as for what a script starts by `&`
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as served:
        try:
            assert served.stdout
            ready = next(line for line in served.stdout if line.startswith("Ready"))
            [url] = [word for word in ready.split() if word.startswith("http")]
            assert url == f"http://127.0.0.1:{port}/"
            family = [psutil.Process(served.pid), *psutil.Process(served.pid).children(recursive=True)]
            listening = {c.laddr.ip for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
            assert listening == {"127.0.0.1"}
            assert json.load(urllib.request.urlopen(url + "getToken"))["token"]
            served.send_signal(signal.SIGINT)
            assert "Traceback" not in served.stdout.read()
            assert served.wait() == 0
        finally:
            served.kill()  # if it still runs
    assert not psutil.wait_procs(family[1:], timeout=60)[1]


@pytest.mark.parametrize(("command", "begins"), [("agent", "Answering up to"), ("tokens", "Join at")])
def test_agent_and_tokens_serve_the_named_livekit_server_until_sigterm(
    livekit_server: LiveKit, short_faq: Path, short_config: Path, command: str, begins: str
) -> None:
    key, secret = livekit_server.api_key, livekit_server.api_secret
    named = {"LIVEKIT_URL": livekit_server.url, "LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret}
    with subprocess.Popen(
        [sys.executable, "-m", "faqlab", command],
        env=environment(short_faq, short_config, PYTHONUNBUFFERED="1", **named),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout
            ready = next(line for line in process.stdout if line.startswith(begins))
            assert secret not in ready
            if command == "tokens":
                [url] = [word for word in ready.split() if word.startswith("http")]
                assert json.load(urllib.request.urlopen(url + "getToken"))["url"] == livekit_server.url
            process.send_signal(signal.SIGTERM)
            assert "Traceback" not in process.stdout.read()
            assert process.wait() == 0
        finally:
            process.kill()  # if it still runs


def environment(faqs: Path, config: Path, **more: str) -> dict[str, str]:
    """Return the developer's environment without keys, for a program with the short FAQ."""
    return programs.environment(FAQLAB_FAQS=faqs, FAQLAB_RETRIEVAL=config, **more)
