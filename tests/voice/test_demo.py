"""The whole demo in one object and in one command: what it starts, what it leaves alone, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from conftest import caller_of, keyless
from livekit import rtc
from livekit.agents.worker import UPDATE_STATUS_INTERVAL
from livekit.api import AccessToken, RoomAgentDispatch, RoomConfiguration, VideoGrants

from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.retriever import RetrievalConfig, Retriever
from faqlab.settings import Settings
from faqlab.voice import demo as demo_module
from faqlab.voice import spoken
from faqlab.voice.caller import Caller, Heard
from faqlab.voice.calls import CallLog, LookupRecord
from faqlab.voice.demo import LiveDemo
from faqlab.voice.page import build_page
from faqlab.voice.review import review
from faqlab.voice.sfu import LiveKit, LocalServer
from faqlab.voice.worker import Worker

QUESTION = "Can I return shoes that do not fit?"


def silent(line: str) -> None:
    """Take a progress line."""


@pytest.fixture
def own_demo(short_faq: Path, short_config: Path, livekit_program: Path) -> Iterator[LiveDemo]:
    demo = LiveDemo(faqs=short_faq, config=short_config, settings=keyless(), progress=silent)
    yield demo
    demo.stop()


def test_it_leaves_signals_environment_and_logging_as_they_were_and_can_start_again(own_demo: LiveDemo) -> None:
    def state() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        root, livekit = logging.getLogger(), logging.getLogger("livekit")
        return handlers, dict(os.environ), list(root.handlers), root.level, livekit.propagate, livekit.level

    before, children = state(), set(psutil.Process().children(recursive=True))
    others = set(threading.enumerate())  # another test's demo may be running
    for _ in range(2):
        assert own_demo.start() is own_demo
        assert state()[:-1] == before[:-1]  # LiveKit's own level, which is its to be quiet
        url = own_demo.url
        assert own_demo.start().url == url
        assert urllib.request.urlopen(url).status == 200
        own_demo.stop()
        own_demo.stop()
        assert state() == before
        assert set(psutil.Process().children(recursive=True)) == children
        left = [thread.name for thread in threading.enumerate() if thread not in others]
        assert not [name for name in left if name.startswith(("faqlab", "livekit-s"))]
        with pytest.raises(FaqlabError, match="not running"):
            own_demo.url  # noqa: B018
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(url.split(":")[-1].strip("/")))) != 0


def test_of_two_demos_at_once_the_last_to_stop_lets_livekit_be_loud_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "_in_quiet", [])  # another test's demo may be running
    monkeypatch.setattr(demo_module, "_quieted", ExitStack())
    monkeypatch.setattr(rtc.room, "logging", logging)
    livekit = logging.getLogger("livekit")
    before = livekit.level
    livekit.setLevel(logging.WARNING)
    try:
        first, second = demo_module._quiet_livekit(), demo_module._quiet_livekit()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert (livekit.level, rtc.room.logging) == (logging.CRITICAL, livekit)
        second.__exit__(None, None, None)
        assert (livekit.level, rtc.room.logging) == (logging.WARNING, logging)
    finally:
        livekit.setLevel(before)


def test_scripted_calls_are_refused_where_all_callers_share_a_room() -> None:
    shared = LiveDemo(settings=keyless().model_copy(update={"room": "lobby"}), progress=silent)
    with pytest.raises(FaqlabError, match=r"share the room 'lobby'.*FAQLAB_ROOM"):
        shared.call([QUESTION])


def test_a_call_that_fails_costs_the_others_nothing_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(self: LiveDemo, query: str) -> Heard:
        if query != QUESTION:
            raise FaqlabError("the caller could not join")
        return replace(Heard.nothing(query), heard_as="shoes", answer_text="Yes.")

    monkeypatch.setattr(LiveDemo, "ask", ask)
    lines: list[str] = []
    demo = LiveDemo(settings=keyless(), progress=lines.append)
    table = demo.call(["What?", QUESTION])
    assert list(table["asked"]) == ["What?", QUESTION]
    assert list(table["said"]) == ["", "Yes."]
    assert lines == ["The call to ask 'What?' failed: the caller could not join"]
    with pytest.raises(FaqlabError, match="could not join"):
        demo.call(["What?", "Why?"])


def test_a_port_that_is_taken_is_said_and_nothing_is_left(short_faq: Path, livekit_program: Path) -> None:
    children = set(psutil.Process().children())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = LiveDemo(faqs=short_faq, port=taken.getsockname()[1], settings=keyless(), progress=silent)
        with pytest.raises(FaqlabError, match="Port"):
            demo.start()
    assert not demo.running
    assert set(psutil.Process().children()) == children


def test_a_faq_that_cannot_be_used_is_said_and_nothing_is_left(tmp_path: Path, livekit_program: Path) -> None:
    children = set(psutil.Process().children())
    demo = LiveDemo(faqs=tmp_path / "none.json", settings=keyless(), progress=silent)
    with pytest.raises(FaqlabError, match=r"none\.json"):
        demo.start()
    assert not demo.running
    assert set(psutil.Process().children()) == children


def test_a_livekit_that_does_not_take_the_key_is_said(livekit_server: LiveKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faqlab.voice.worker.REGISTER_SECONDS", 2.0)
    settings = Settings(
        google_api_key=None, livekit_url=livekit_server.url, livekit_api_key="wrong", livekit_api_secret="x" * 40
    )
    with pytest.raises(FaqlabError, match="LIVEKIT_API_KEY"):
        LiveDemo(settings=settings, progress=silent).start()


def test_the_choice_of_voice_and_server_is_said_at_the_start(
    livekit_server: LiveKit, short_faq: Path, short_config: Path
) -> None:
    named = Settings(
        google_api_key="a key that is never used",
        livekit_url=livekit_server.url,
        livekit_api_key=livekit_server.api_key,
        livekit_api_secret=livekit_server.api_secret,
    )
    lines: list[str] = []
    with LiveDemo(faqs=short_faq, config=short_config, settings=named, progress=lines.append):
        pass
    said = " ".join(lines)
    assert "Gemini Live (gemini-3.8-live, Fenrir)" in said
    assert livekit_server.url in said
    assert "a key" not in said
    assert livekit_server.api_secret not in said


SCRIPT = """
import json, logging, sys
from livekit import rtc
from faqlab.voice.demo import LiveDemo

if __name__ == "__main__":
    with LiveDemo(records=sys.argv[1]) as demo:
        rtc.room.logging.info("as it does for a text stream that nobody reads")
        logging.getLogger("mine").warning("a warning of the user's own")
        assert not logging.getLogger().handlers
        table = demo.call(["Can I return shoes that do not fit?", "Who won the chess tournament?"], at_once=1)
        assert not logging.getLogger().handlers
    print("TABLE " + table.to_json(orient="records"))
"""


def test_without_a_network_a_call_is_answered(
    tmp_path: Path, short_faq: Path, short_config: Path, livekit_program: Path
) -> None:
    build_page()  # needs the network, if the page was changed since
    # WebRTC in LiveKit's Python SDK overlooks loopback and wants another interface, wherever that leads.
    nowhere = "ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add 10.9.9.9/24 dev v0"
    prefix = ["unshare", "-rn", "sh", "-c", f'{nowhere} && ip link set v0 up && ip link set v1 up && exec "$@"', "-"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        prefix = []  # nobody may make a network namespace here: the proxies that refuse have to do
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    ran = subprocess.run(
        [*prefix, sys.executable, "-c", SCRIPT, str(tmp_path / "records")],
        env=environment(short_faq, short_config, HF_HUB_OFFLINE="1", **proxies),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "a warning of the user's own\n"
    table = pd.DataFrame(json.loads(ran.stdout.split("TABLE ")[1]))
    assert list(table["outcome"]) == ["answer", "decline"]
    assert table["retrieved"][0][0] == "shoes"
    assert "thirty days" in table["said"][0]
    assert (table["first_sound_ms"] < 3000).all()
    assert table["voice_ms"].notna().all()

    [file] = (tmp_path / "records").iterdir()
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [record["outcome"] for record in records] == ["answer", "decline"]
    assert set(records[0]["milliseconds"]) == {"transcript", "turn", "embed", "search", "voice"}
    assert file.stat().st_mode & 0o077 == 0

    queries = pd.DataFrame({"kind": ["paraphrase", "out"], "relevant": [("shoes",), ()]})
    retriever = Retriever.build(FaqSet.load(short_faq), RetrievalConfig.load(short_config), cache_dir=tmp_path)
    judged = review(table, queries, retriever)
    assert list(judged["right"]) == [True, True]
    wrong = review(table, queries.assign(relevant=[("pay",), ()]), retriever)
    assert list(wrong["lost_at"]) == ["retrieval", ""]
    unasked = review(table.assign(outcome=[None, None]), queries, retriever)
    assert list(unasked["lost_at"]) == ["look-up", ""]
    unheard = review(table.assign(outcome=[None, None], said=""), queries, retriever)
    assert list(unheard["lost_at"]) == ["look-up", "voice"]
    misheard = review(table.assign(retrieved=[["pay"], []]), queries, retriever)
    assert list(misheard["lost_at"]) == ["hearing", ""]


INTERRUPTED = """
import os, signal, sys, threading, time, psutil
from faqlab.voice import sfu
from faqlab.voice.demo import LiveDemo


def interrupted(work, seconds):
    others = set(threading.enumerate())
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        work()
        timer.cancel()
    except KeyboardInterrupt:
        ours = lambda: [
            t.name for t in threading.enumerate() if t not in others and t.name.startswith(("faqlab", "livekit-s"))
        ]
        deadline = time.monotonic() + 1  # one that was interrupted before it began is a moment in ending
        while ours() and time.monotonic() < deadline:
            time.sleep(0.01)
        print("INTERRUPTED", ours(), flush=True)


if __name__ == "__main__":
    demo = LiveDemo(progress=lambda line: None)
    for seconds in (0.05, 0.1, 0.2, 0.3):
        interrupted(demo.start, seconds)
        demo.stop()  # where it was too late to interrupt
        assert not demo.running and not psutil.Process().children(), psutil.Process().children()
    demo.start()
    for seconds in (0.2, 1, 5):
        interrupted(lambda: demo.call(["Can I return shoes that do not fit?"] * 4), seconds)
    rooms = lambda: sfu._call(demo._servers[0]._livekit, "ListRooms", {}).get("rooms", [])
    deadline = time.monotonic() + 10
    while rooms() and time.monotonic() < deadline:
        time.sleep(0.1)
    print("ROOMS", rooms())
    print("OUTCOME", demo.call(["Can I return shoes that do not fit?"])["outcome"][0])
    demo.stop()
"""


def test_an_interrupted_start_or_call_leaves_nothing_running(
    short_faq: Path, short_config: Path, livekit_program: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        env=environment(short_faq, short_config),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, if the tests run in the background
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not re.search("Panic|Traceback|loop is closed", ran.stderr), ran.stderr
    lines = ran.stdout.splitlines()
    assert 4 <= lines.count("INTERRUPTED []") == len(lines) - 2, lines
    assert lines[-2:] == ["ROOMS []", "OUTCOME answer"]


@pytest.mark.parametrize("answer_from", [0.0, 1.0])  # never asks back, or always
def test_a_spoken_query_is_lost_where_the_measurement_of_the_ears_says(
    short_faq: Path, short_config: Path, tmp_path: Path, answer_from: float
) -> None:
    chosen = replace(RetrievalConfig.load(short_config), answer_from=answer_from)
    retriever = Retriever.build(FaqSet.load(short_faq), chosen, cache_dir=tmp_path)
    labels = {
        "Where is my parcel?": "parcel",
        "Can I return shoes?": "shoes",
        "How can I pay?": "",
        "A fair price?": "",
    }
    (tmp_path / "mine.csv").write_text(
        "id,query,relevant\n" + "".join(f"q{n},{query},{faq}\n" for n, (query, faq) in enumerate(labels.items()))
    )
    queries = load_queries(tmp_path / "mine.csv", retriever.faqs)
    for relabelled in (queries, queries.assign(relevant=[("abroad",), ("work",), (), ()])):
        for heard in (list(labels), ["Where is my puzzle?", "Can I pay for shoes?", "So.", "How can I pay?"]):
            answers = [retriever.answer(text) for text in heard]
            ids = [[hit.faq.id for hit in answer.hits] for answer in answers]
            calls = pd.DataFrame(
                {
                    "asked": list(labels),
                    "outcome": [str(answer.outcome) for answer in answers],
                    "retrieved": ids,
                    "offered": [some[: len(answer.choices)] for some, answer in zip(ids, answers, strict=True)],
                    "said": "something",
                }
            )
            ears = pd.DataFrame({"id": queries["id"], "speed": 1.0, "snr_db": 0.0, "heard": heard})
            _, judged = spoken.judge(ears, relabelled, retriever)
            assert list(review(calls, relabelled, retriever)["lost_at"]) == list(judged["lost_at"])


CYCLES = """
import gc, json, psutil, sys, threading, time
from faqlab.voice.demo import LiveDemo

if __name__ == "__main__":
    demo, me, rows = LiveDemo(progress=lambda line: None), psutil.Process(), []
    for _ in range(10):
        begun = time.monotonic()
        demo.start()
        seconds = time.monotonic() - begun
        demo.call(["Can I return shoes that do not fit?"]) if "call" in sys.argv else None
        demo.stop()
        gc.collect()
        names = sorted(thread.name for thread in threading.enumerate())
        rows.append([len(names), me.num_fds(), len(me.children()), me.memory_info().rss >> 20, round(seconds, 2)])
    print("ROWS " + json.dumps(rows))
    print(names, file=sys.stderr)
"""


def test_ten_starts_and_stops_leave_threads_handles_and_memory_flat(
    short_faq: Path, short_config: Path, livekit_program: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CYCLES],
        env=environment(short_faq, short_config),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout.split("ROWS ")[1])
    print(rows, ran.stderr)
    (threads, handles, children, memory, _), (threads_end, handles_end, _, memory_end, seconds) = rows[2], rows[-1]
    assert (threads_end, handles_end, children) == (threads, handles, 0)
    assert memory_end - memory < 30
    assert seconds < 5


def test_a_killed_owner_leaves_no_process(short_faq: Path, short_config: Path, livekit_program: Path) -> None:
    code = "from faqlab.voice.demo import LiveDemo; LiveDemo().start(); print('UP', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(short_faq, short_config),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert any(line == "UP\n" for line in owner.stdout)
        children = psutil.Process(owner.pid).children(recursive=True)
        assert children
        owner.kill()
    assert not psutil.wait_procs(children, timeout=3)[1]


async def test_serve_lets_callers_in_and_ctrl_c_leaves_nothing(
    short_faq: Path, short_config: Path, livekit_program: Path
) -> None:
    with command("serve", short_faq, short_config) as (served, lines):
        url = await line(lines, r"Join at (http://127\.0\.0\.1:\d+/)")
        await line(lines, r"Ready")
        family = [psutil.Process(served.pid), *psutil.Process(served.pid).children(recursive=True)]
        listening = {c.laddr.ip for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        with urllib.request.urlopen(url + "getToken") as response:
            token = json.load(response)
        async with Caller(token["url"], token["token"]) as caller:
            await caller.wait_for_greeting()
            assert (await caller.ask(QUESTION)).lookups[0]["hits"][0]["id"] == "shoes"
        begun = time.monotonic()
        served.send_signal(signal.SIGINT)
        await asyncio.to_thread(served.wait, 15)
        assert time.monotonic() - begun < 8
    assert served.returncode == 0
    assert not psutil.wait_procs(family[1:], timeout=3)[1]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.split(":")[-1].strip("/")))) != 0


async def test_serve_says_that_its_port_is_taken_or_its_folder_no_use_and_ends(
    short_faq: Path, short_config: Path, livekit_program: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        wrong = {
            "FAQLAB_PORT": (port, f"Port {port} cannot be used (Address already in use): give another"),
            "FAQLAB_RECORDS": (str(tmp_path / "file" / "records"), "records cannot be written there"),
        }
        for name, (value, words) in wrong.items():
            with command("serve", short_faq, short_config, **{name: value}) as (served, lines):
                assert await asyncio.to_thread(served.wait, 60) == 2
            [said] = [line for line in lines if line.startswith("faqlab: ")]
            assert words in said and said == lines[-1]
            assert not [line for line in lines if line.startswith("Ready")]  # before it takes the time to load models
            assert "Traceback" not in "".join(lines)


async def test_serve_that_loses_its_livekit_server_says_so_and_ends(
    short_faq: Path, short_config: Path, livekit_program: Path
) -> None:
    with command("serve", short_faq, short_config) as (served, lines):
        await line(lines, r"Ready")
        [server] = [c for c in psutil.Process(served.pid).children() if "livekit" in c.name()]
        server.kill()
        assert await asyncio.to_thread(served.wait, 20) == 1
    assert lines[-1] == "faqlab: livekit-server has ended by itself (status -9).\n"
    assert lines.count(lines[-1]) == 1
    assert "Traceback" not in "".join(lines)


def test_what_has_died_is_said_and_starts_again(own_demo: LiveDemo) -> None:
    own_demo.start()
    server = own_demo._servers[0]
    assert isinstance(server, LocalServer) and server.pid
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not own_demo.running)
    for use in (lambda: own_demo.url, lambda: own_demo.call([QUESTION])):
        with pytest.raises(FaqlabError, match=r"start\(\) it again.*livekit-server has ended"):
            use()
    assert urllib.request.urlopen(own_demo.start().url).status == 200
    assert own_demo.running
    own_demo.stop()
    assert own_demo.problem is None


def test_a_watcher_that_fails_costs_the_others_nothing_and_watching_ends() -> None:
    def fail() -> None:
        raise RuntimeError("broken on purpose")

    told: list[str] = []
    demo = LiveDemo(settings=keyless(), progress=silent)
    demo.watch(fail)
    unwatch = demo.watch(lambda: told.append("told"))
    demo._tell_watchers()
    assert told == ["told"]
    unwatch()
    unwatch()
    demo._tell_watchers()
    assert told == ["told"]


def test_a_panel_that_is_closed_follows_no_more() -> None:
    demo = LiveDemo(settings=keyless(), progress=silent)
    panel: Any = demo.panel()
    demo.calls.add(RECORD)
    assert "when will it come?" in panel.children[1].value
    panel.close()
    demo.calls.add(replace(RECORD, query="and after that?"))
    assert "and after that?" not in panel.children[1].value
    assert not demo._watchers


def test_the_panel_says_what_is_and_stops_the_demo_each_time(own_demo: LiveDemo) -> None:
    panel: Any = own_demo.panel()
    stop, state = panel.children[0].children
    for _ in range(2):
        assert "not running" in state.value and stop.disabled
        own_demo.start()
        assert own_demo.url in state.value and not stop.disabled
        stop.click()
        assert not own_demo.running
    own_demo.start()
    own_demo.calls.add(RECORD)
    assert "when will it come?" in panel.children[1].value
    own_demo.stop()
    assert "not running" in state.value and stop.disabled


RECORD = LookupRecord(
    id="lookup_1",
    time=datetime(2020, 1, 31, 12, tzinfo=UTC),
    room="faq-1",
    query="when will it come?",
    outcome="decline",
    confidence=0.1,
    threshold=0.5,
    squared_l2_threshold=0.9,
    hits=(),
    choices=(),
    milliseconds={},
)


def test_records_are_for_their_owner_alone_on_every_day_and_memory_holds_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faqlab.voice.calls.KEPT", 3)
    before = os.umask(0o022)
    try:
        calls = CallLog(tmp_path / "kept" / "records")
        for day in range(5):
            calls.add(replace(RECORD, id=str(day), time=RECORD.time + timedelta(days=day)))
    finally:
        os.umask(before)
    folder = tmp_path / "kept" / "records"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = sorted(folder.glob("lookups-2020-*.jsonl"))
    assert [json.loads(file.read_text())["id"] for file in files] == list("01234")
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert [record.id for record in calls.records] == list("234")


def test_a_worker_that_has_lost_its_server_for_good_says_so(
    livekit_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faqlab.voice.worker.RECONNECTS", 1)
    with LocalServer(livekit_program) as livekit:
        worker = Worker(livekit, Future(), "nobody")
        worker.start()
        assert worker.problem is None
    wait_for(lambda: worker.problem is not None)
    assert re.fullmatch(rf"The agent has ended .* {livekit.url}: failed to connect .*\.", str(worker.problem))
    worker.stop()
    assert worker.problem is None


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_a_worker_stopped_while_it_starts_ends_at_once(delay: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, ThreadPoolExecutor(1) as pool:
        livekit = LiveKit(f"ws://127.0.0.1:{deaf.getsockname()[1]}", "key", "s" * 32, local=True)
        worker = Worker(livekit, Future(), "nobody")
        began = time.monotonic()
        starting = pool.submit(worker.start)
        wait_for(lambda: worker._thread is not None)
        time.sleep(delay)
        worker.stop()
        with pytest.raises(FaqlabError, match="stopped"):
            starting.result(5)
        assert time.monotonic() - began < 5
        assert worker.problem is None


async def test_however_many_calls_a_worker_holds_the_next_is_answered(
    demo: LiveDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiveKit's server gives no call to a worker that says it is full, and tells nobody."""
    monkeypatch.setattr("faqlab.voice.worker.CALLS_AT_EASE", 0.01)  # as with a hundred times as many calls
    async with caller_of(demo) as held:
        assert (await held.wait_for_greeting()).answer_text
        await asyncio.sleep(UPDATE_STATUS_INTERVAL + 0.5)  # until the server has heard of the load
        async with caller_of(demo) as caller:
            assert (await caller.wait_for_greeting()).answer_text


async def test_two_workers_share_the_calls_and_one_alone_goes_on(
    livekit_server: LiveKit, short_faq: Path, short_config: Path
) -> None:
    named = {
        "LIVEKIT_URL": livekit_server.url,
        "LIVEKIT_API_KEY": livekit_server.api_key,
        "LIVEKIT_API_SECRET": livekit_server.api_secret,
        "FAQLAB_AGENT_NAME": "shared",
    }

    async def greeted(room: str, held: asyncio.Event | None = None, answered: asyncio.Event | None = None) -> bool:
        token = AccessToken(livekit_server.api_key, livekit_server.api_secret).with_identity("caller")
        token = token.with_grants(VideoGrants(room_join=True, room=room))
        token = token.with_room_config(RoomConfiguration(agents=[RoomAgentDispatch(agent_name="shared")]))
        async with Caller(livekit_server.url, token.to_jwt()) as caller:
            heard = bool((await caller.wait_for_greeting()).answer_text)
            if answered:
                answered.set()
            if held:
                await held.wait()
            return heard

    with (
        command("agent", short_faq, short_config, **named) as (first, first_lines),
        command("agent", short_faq, short_config, **named) as (second, second_lines),
    ):
        await asyncio.gather(line(first_lines, "Ready"), line(second_lines, "Ready"))
        held, calls = asyncio.Event(), list[asyncio.Task[bool]]()
        busy = [False, False]
        # The server draws a worker, the likelier the less it has to do, so that one may well be given the first few.
        while not all(busy) and len(calls) < 8:  # all to one: one time in a thousand
            answered = asyncio.Event()
            calls.append(asyncio.create_task(greeted(f"shared-{len(calls)}", held, answered)))
            await asyncio.wait_for(answered.wait(), 60)
            busy = [bool(psutil.Process(process.pid).net_connections("udp")) for process in (first, second)]
        held.set()
        assert all(await asyncio.gather(*calls))
        assert all(busy), f"of {len(calls)} calls one worker was given none"
        first.kill()
        assert all([await greeted(f"after-{n}") for n in range(2)])


def environment(faqs: Path, config: Path, **more: str) -> dict[str, str]:
    """The developer's environment without keys, for a program with the short FAQ."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "LIVEKIT_", "FAQLAB_"))}
    return {**kept, "FAQLAB_FAQS": str(faqs), "FAQLAB_RETRIEVAL": str(config), **more}


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def command(name: str, faqs: Path, config: Path, **more: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run `faqlab NAME` and gather the lines that it prints; killed in the end if it still runs."""
    program = shutil.which("faqlab", path=str(Path(sys.executable).parent))
    assert program
    lines: list[str] = []
    with subprocess.Popen(
        [program, name],
        env=environment(faqs, config, PYTHONUNBUFFERED="1", **more),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as for what a script starts by `&`
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()
            reader.join()


async def line(lines: list[str], pattern: str) -> str:
    """Wait for a line with *pattern*; return its first group, or the match."""
    for _ in range(600):
        for candidate in list(lines):
            if found := re.search(pattern, candidate):
                return found[found.lastindex or 0]
        await asyncio.sleep(0.1)
    raise AssertionError(f"no line with {pattern!r} in {lines}")
