"""
Plays the faults that a call may meet, and prints what caller and operator notice: `python -m benchmarks.faults`.

Each is played on a real `faqlab serve` with a short FAQ and a scripted caller; Gemini is an emulator of its protocol.
A fault that this machine can't play is named with the reason.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import aiohttp
import numpy as np
import pandas as pd
import psutil
import typer
from livekit import rtc
from scipy.signal import resample_poly

from benchmarks import command
from benchmarks.call_audio import CHUNK, LOUD, RATE, transcribe
from benchmarks.gemini_emulator import GeminiEmulator, Mood
from benchmarks.programs import environment, faqlab
from benchmarks.scripted_caller import ScriptedCaller, request_token
from faqlab.config import RetrievalConfig
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT, settings
from faqlab.voice.call import NOTICE_TOPIC
from faqlab.voice.tts import Synthesizer
from faqlab.voice.whisper import SAMPLE_RATE

FAQ = {
    "parcel": (
        "Where is my parcel?",
        "Follow the link in your shipping email. It shows you where it is.",
    ),
    "pay": ("How can I pay?", "You can pay by card, by invoice, or in any of our shops."),
    "shoes": ("Can I return shoes?", "Yes, you can return shoes within thirty days, with the receipt."),
}
QUESTION, HALF = "Where is my parcel?", "in your shipping email."
NEXT, NEXT_ANSWERED = "How can I pay?", "pay"

HOLD_TRACK = "hold"
AWAY_S = 5.0  # how long the network is down
FROZEN_S = 10.0
GAP_S = 0.4  # a longer silence ends what was being said
SILENT_S = 1.2  # and this one what is transcribed together
LONGEST_S = 60.0  # until a call is given up
INTERRUPTS = 20
START = ("Starting.", "LiveKit server: ", "Loading the models.", "Answering up to ", "Ready at ", "Join at ")
INSIDE = "FAULTS_NAMESPACE"  # set in the separate namespace in which a fault of the network is played

CALLER = """
import asyncio, sys
from benchmarks.scripted_caller import ScriptedCaller

async def call() -> None:
    async with ScriptedCaller(*sys.argv[1:]) as caller:
        await caller.greeting()
        print("greeted", flush=True)
        await asyncio.sleep(600)

asyncio.run(call())
"""


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (clock == CLOCK_REALTIME && access(getenv("CLOCK_BACK"), F_OK) == 0) now->tv_sec -= 3600;
    return status;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec read;
    clock_gettime(CLOCK_REALTIME, &read);
    *now = (struct timeval){read.tv_sec, read.tv_nsec / 1000};
    return 0;
}
time_t time(time_t *now) {
    struct timespec read;
    clock_gettime(CLOCK_REALTIME, &read);
    if (now) *now = read.tv_sec;
    return read.tv_sec;
}
"""
"""A library that sets the clock back by an hour once the file CLOCK_BACK is there."""


class NotHereError(Exception):
    """This machine can't play the fault; the message says why."""


@dataclass(frozen=True)
class Seen:
    """
    What a fault looks like.

    Attributes:
        caller: What the caller sees and hears, each with the seconds since the fault.
        silence_s: The longest time in which the caller saw and heard nothing new, until the agent spoke.
        call: What becomes of the call.
        operator: What `faqlab serve` printed.
    """

    caller: str
    silence_s: float | None = None
    call: str = ""
    operator: str = ""


class Serving:
    """`async with Serving() as serving`: a `faqlab serve` with the short FAQ, and what it prints."""

    url: str

    def __init__(self, *prefix: str, **environment: str) -> None:
        self._prefix, self._environment = prefix, environment
        self._lines: list[tuple[float, str]] = []
        self.process: Process

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="faults-")
        own = {**write_faq(Path(self._folder.name)), "PYTHONUNBUFFERED": "1", **self._environment}
        self.process = await asyncio.create_subprocess_exec(
            *(*self._prefix, *faqlab("serve")),
            env=environment(**own),
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        self.url, ready = "", asyncio.Event()
        self._reading = asyncio.create_task(self._read(ready))
        await ready.wait()
        if not self.url:
            await self.__aexit__()
            raise FaqlabError("It didn't start: " + self.said(0))
        self._family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        with suppress(ProcessLookupError):
            self.process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), 15)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self._reading
        self._folder.cleanup()

    async def _read(self, ready: asyncio.Event) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            text = line.decode(errors="replace").rstrip()
            self._lines.append((time.perf_counter(), text))
            if text.startswith("Join at "):
                self.url = text.split()[2]
                ready.set()
        ready.set()

    def part(self, name: str) -> psutil.Process:
        """Return the process of livekit-server or of the agent."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                arguments = process.cmdline()[:6]
                if any(Path(one).name.startswith(name) for one in arguments) and process.name() != "sh":
                    return process
        raise LookupError(name)

    def said(self, since: float) -> str:
        """Return what the operator has read since then, without the lines of an ordinary start."""
        lines = (line for at, line in self._lines if at >= since and not line.startswith(START))
        return " · ".join(dict.fromkeys(lines)) or "nothing"

    def left(self) -> int:
        """Return how many of the processes that it started are still there, two seconds later."""
        _, alive = psutil.wait_procs(self._family, timeout=2)
        return sum(process.status() != psutil.STATUS_ZOMBIE for process in alive)

    async def token(self) -> tuple[str, str]:
        """Return the address and the token of a new call."""
        return await request_token(self.url)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[Call]:
        """Join a new call."""
        call = Call(*await self.token())
        async with call.caller:
            yield call

    async def health(self) -> dict[str, Any] | None:
        """Return what `/health` answers; None if nothing does."""
        try:
            async with aiohttp.ClientSession() as http, http.get(self.url + "health") as response:
                return dict(await response.json())
        except aiohttp.ClientError:
            return None


class Call:
    """A scripted caller, with what they see and hear."""

    def __init__(self, url: str, token: str) -> None:
        self.caller = ScriptedCaller(url, token)
        self.signs: list[tuple[float, str]] = []
        self.sounds: dict[str, list[float]] = {}  # by the name of the track
        self._audio: list[tuple[float, np.ndarray]] = []  # of the agent's voice
        self.ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        room = self.caller.room
        room.on("reconnecting", lambda: self._sign("reconnecting"))
        room.on("reconnected", lambda: self._sign("reconnected"))
        room.on("participant_connected", lambda who: self._sign("the agent joins"))
        room.on("participant_disconnected", lambda who: self._sign("the agent has left"))
        room.on("connection_quality_changed", self._on_quality)
        room.on("disconnected", self._on_end)
        room.on("track_subscribed", self._on_track)
        room.register_text_stream_handler(NOTICE_TOPIC, lambda reader, _: self._start(self._read_notice(reader)))

    def _sign(self, text: str) -> None:
        self.signs.append((time.perf_counter(), text))

    def _on_quality(self, who: rtc.Participant, quality: int) -> None:
        if quality == rtc.ConnectionQuality.QUALITY_LOST:
            self._sign("connection lost" if isinstance(who, rtc.LocalParticipant) else "the agent's connection lost")

    def _on_end(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._sign(f"disconnected ({rtc.DisconnectReason.Name(reason)})")
        self.ended.set()

    def _on_track(self, track: rtc.Track, publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._start(self._listen(track, publication.name))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _read_notice(self, reader: rtc.TextStreamReader) -> None:
        with suppress(rtc.StreamError):
            self._sign(f"on the page “{json.loads(await reader.read_all())['text']}”")

    async def _listen(self, track: rtc.Track, name: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=1000 * CHUNK // RATE)
        async for event in stream:
            samples, now = np.frombuffer(event.frame.data, np.int16).astype(np.float32) / 32768, time.perf_counter()
            if np.sqrt(np.mean(np.square(samples))) > LOUD / 32768:
                self.sounds.setdefault(name, []).append(now)
            if name != HOLD_TRACK:
                self._audio.append((now, samples))

    def voice(self) -> list[float]:
        """Return when the agent was heard, the recorded sentence excepted."""
        return sorted(at for name, times in self.sounds.items() if name != HOLD_TRACK for at in times)

    def held(self, since: float) -> list[float]:
        """Return when the recorded sentence began."""
        times = [at for at in self.sounds.get(HOLD_TRACK, []) if at >= since]
        return [at for before, at in zip([0.0, *times], times, strict=False) if at - before > GAP_S]

    async def speaks_again(self, since: float) -> tuple[float, str]:
        """Wait until the agent has spoken; return when it began, and what Whisper understands."""
        spoke, deadline = None, since + LONGEST_S
        while not self.ended.is_set() and time.perf_counter() < deadline:
            spoke = spoke or self.began(since)
            if spoke and time.perf_counter() - self.voice()[-1] > SILENT_S:
                break
            await asyncio.sleep(0.05)
        if spoke is None:
            return time.perf_counter(), ""
        speech = np.concatenate([samples for at, samples in self._audio if at >= spoke - 0.2])
        heard = await asyncio.to_thread(transcribe, resample_poly(speech, SAMPLE_RATE, RATE))
        return spoke, heard

    def began(self, since: float) -> float | None:
        """Return when the agent began to speak; what it was saying then doesn't count."""
        last = since
        for at in self.voice():
            if at >= since:
                if at - last > GAP_S:
                    return at
                last = at
        return None

    async def answers(self, question: str = NEXT, entry: str = NEXT_ANSWERED) -> str:
        """Ask a question, and return what becomes of the call."""
        asked = await self.caller.ask(question)
        if not asked.lookups:  # the caller was asked to hold
            asked = await self.caller.greeting()
        found = [lookup["hits"][0]["id"] for lookup in asked.lookups if lookup["hits"]]
        return "goes on: the next question is answered" if entry in found else f"heard {asked.reply!r}, found {found}"

    def seen(self, since: float, spoke: float, words: str, call: str, serving: Serving) -> Seen:
        """Return what was seen of a fault at the time *since*, after which the agent *spoke* again."""
        signs = [(at, text) for at, text in self.signs if since <= at <= spoke]
        signs += [(at, "hears “One moment, please.”") for at in self.held(since) if at <= spoke]
        if words:
            signs.append((spoke, f"hears “{words}”"))
        known = [at for times in self.sounds.values() for at in times if since <= at <= spoke]
        times = sorted([since, spoke, *known, *(at for at, _ in signs)])
        noticed = "; ".join(f"{text} ({at - since:.1f} s)" for at, text in sorted(signs))
        return Seen(noticed, round(float(np.diff(times).max()), 1), call, serving.said(since - 1))


def write_faq(folder: Path) -> dict[str, str]:
    """Write the short FAQ and its configuration, and return the settings that name them."""
    entries = [{"id": name, "question": question, "answer": answer} for name, (question, answer) in FAQ.items()]
    faqs, config = folder / "faq.json", folder / "retrieval.json"
    faqs.write_text(json.dumps({"questions": entries}))
    RetrievalConfig(top_k=3, scale=20.0, null_cosine=0.45, decline_below=0.5, answer_from=0.9).save(config)
    return {"FAQLAB_FAQS": str(faqs), "FAQLAB_RETRIEVAL": str(config)}


# LiveKit and the agent


async def in_an_answer(
    serving: Serving,
    strike: Callable[[], Awaitable[None] | None],
    prepare: Callable[[], Awaitable[None]] | None = None,
) -> Seen:
    """Call *prepare* after the greeting, and *strike* in the middle of an answer, and return what is seen."""
    async with serving.call() as call:
        await call.caller.greeting()
        if prepare:
            await prepare()
        asking, begun = asyncio.create_task(call.caller.ask(QUESTION)), time.perf_counter()
        while not any(at > begun for at in call.voice()):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        since = time.perf_counter()
        if (striking := strike()) is not None:
            await striking
        asking.cancel()
        await asyncio.wait([asking])
        spoke, words = await call.speaks_again(since)
        return call.seen(since, spoke, words, await call.answers(), serving)


async def kill(part: str) -> Seen:
    """Kill a part in the middle of an answer."""
    async with Serving() as serving:
        return await in_an_answer(serving, serving.part(part).kill)


async def kill_one_of_two() -> Seen:
    """Kill the agent in the middle of an answer, while a second one is running."""
    async with Serving() as serving, AsyncExitStack() as stack:

        async def prepare() -> None:
            second = await asyncio.create_subprocess_exec(
                *faqlab("agent", "--json"),
                env=serving.part("agent").environ(),
                stdout=PIPE,
                stderr=DEVNULL,
            )
            stack.push_async_callback(second.wait)
            stack.callback(second.kill)
            assert second.stdout
            await second.stdout.readline()

        return await in_an_answer(serving, serving.part("agent").kill, prepare)


async def freeze() -> Seen:
    """Stop livekit-server for some seconds in the middle of an answer."""
    async with Serving() as serving:
        server = serving.part("livekit-server")

        def resume() -> None:
            with suppress(psutil.NoSuchProcess):
                server.resume()

        def strike() -> None:
            server.suspend()
            asyncio.get_running_loop().call_later(FROZEN_S, resume)

        return await in_an_answer(serving, strike)


async def health() -> Seen:
    """Ask for `/health` while livekit-server is frozen, killed and started again."""
    async with Serving() as serving:
        since, slowest, answers = time.perf_counter(), 0.0, set()
        serving.part("livekit-server").suspend()
        while time.perf_counter() < since + FROZEN_S:
            asked = time.perf_counter()
            found = await serving.health()
            slowest = max(slowest, time.perf_counter() - asked)
            answers.add("no answer" if found is None else f"livekit: {found['livekit']}")
            await asyncio.sleep(0.3)
        noticed = f"/health answers within {slowest:.1f} s ({', '.join(sorted(answers))})"
        return Seen(noticed, None, "", serving.said(since))


# The network


async def network_down() -> Seen:
    """Take the interface that the SDK uses down in the middle of an answer, and up again."""
    async with Serving() as serving:

        async def strike() -> None:
            subprocess.run(["ip", "link", "set", "v0", "down"], check=True)
            asyncio.get_running_loop().call_later(AWAY_S, subprocess.run, ["ip", "link", "set", "v0", "up"])

        return await in_an_answer(serving, strike)


async def loopback_only() -> Seen:
    """Join where there is no other interface than loopback."""
    async with Serving() as serving:
        since = time.perf_counter()
        try:
            async with serving.call() as call:
                spoke, words = await call.speaks_again(since)
                return call.seen(since, spoke, words, await call.answers(), serving)
        except FaqlabError as error:
            await asyncio.sleep(3)
            return Seen(f"can't join ({time.perf_counter() - since:.0f} s): {error}", None, "", serving.said(since))


async def in_a_namespace(name: str, setup: str) -> Seen:
    """Play the fault *name* in a network namespace, which the shell commands *setup* furnish."""
    prefix = ["unshare", "-rn", "sh", "-c", f'{setup} && exec "$@"', "-"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        raise NotHereError("network namespaces aren't allowed here (`unshare -rn`)")
    process = await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, "-m", "benchmarks.faults", name, "--json"),
        env={**os.environ, INSIDE: name},
        stdout=PIPE,
        cwd=PROJECT_ROOT,
    )
    output, _ = await process.communicate()
    row = json.loads(output)[0]
    return Seen(**{name: row[name] for name in ("caller", "silence_s", "call", "operator")})


LOOPBACK = "ip link set lo up"
NETWORK = (
    f"{LOOPBACK} && ip link add v0 type veth peer name v1 && ip addr add 10.9.9.9/24 dev v0"
    " && ip link set v0 up && ip link set v1 up"
)


# The caller


async def kill_caller() -> Seen:
    """Kill a caller's process where there is one line, and see when the next caller is answered."""
    async with Serving(FAQLAB_CALLS="1") as serving:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CALLER, *await serving.token(), stdout=PIPE, cwd=PROJECT_ROOT
        )
        assert process.stdout
        await process.stdout.readline()
        async with serving.call() as call:
            await asyncio.sleep(1)
            since = time.perf_counter()
            process.kill()
            await process.wait()
            spoke, words = await call.speaks_again(since)
            waited = f"the next caller, who waited for the only line, hears “{words}” ({spoke - since:.1f} s)"
            return Seen(waited, None, await call.answers(), serving.said(since))


async def mute() -> Seen:
    """Mute the caller's microphone."""
    async with Serving() as serving, serving.call() as call:
        await call.caller.greeting()
        since, heard = time.perf_counter(), []
        for publication in call.caller.room.local_participant.track_publications.values():
            assert isinstance(publication.track, rtc.LocalAudioTrack)
            publication.track.mute()
        while not call.ended.is_set():
            spoke, words = await call.speaks_again(max([since, *call.voice()[-1:]]))
            if words:
                heard.append((spoke, words))
        noticed = "; ".join(f"hears “{words}” ({at - since:.0f} s)" for at, words in heard)
        silence = round(float(np.diff([since, *(at for at in call.voice() if at > since)]).max()), 1)
        return Seen(noticed, silence, call.signs[-1][1], serving.said(since))


async def other_device() -> Seen:
    """Join the call with the same token from a second device."""
    async with Serving() as serving:
        url, token = await serving.token()
        first, second = Call(url, token), Call(url, token)
        async with first.caller:
            await first.caller.greeting()
            since = time.perf_counter()
            async with second.caller:
                call = await second.answers()
                await first.ended.wait()
                noticed = f"on the first: {first.signs[-1][1]} ({first.signs[-1][0] - since:.1f} s)"
                return Seen(noticed, None, f"on the second: {call}", serving.said(since))


# The operator


async def two_sigterms() -> Seen:
    """End the program twice during a call."""
    async with Serving() as serving, serving.call() as call:
        await call.caller.greeting()
        since = time.perf_counter()
        serving.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        with suppress(ProcessLookupError):
            serving.process.send_signal(signal.SIGTERM)
        status = await serving.process.wait()
        ended = time.perf_counter() - since
        with suppress(TimeoutError):
            await asyncio.wait_for(call.ended.wait(), LONGEST_S)
        at, text = call.signs[-1]
        operator = f"ended after {ended:.1f} s with status {status}, {serving.left()} processes left"
        return Seen(f"{text} ({at - since:.1f} s)", None, "ends", f"{operator}; {serving.said(since)}")


async def interrupt_imports() -> Seen:
    """Press Ctrl-C at random moments of the start."""
    chance, found = random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(**write_faq(Path(folder)))
        for _ in range(INTERRUPTS):
            process = await asyncio.create_subprocess_exec(*faqlab("serve"), env=variables, stdout=PIPE, stderr=STDOUT)
            await asyncio.sleep(chance.uniform(0.05, 4))
            process.send_signal(signal.SIGINT)
            output, _ = await process.communicate()
            found.append((process.returncode, "Traceback" in output.decode()))
    statuses = sorted({str(status) for status, _ in found})
    tracebacks = sum(traceback for _, traceback in found)
    return Seen("", None, "", f"{tracebacks} tracebacks in {INTERRUPTS}; exit status {', '.join(statuses)}")


async def disk_full() -> Seen:
    """Leave no room for the cache of the index."""
    with tempfile.TemporaryDirectory() as folder:
        models = " ".join(map(str, settings().cache_dir.glob("serving-*")))
        fill = (
            f"mount -t tmpfs -o size=200m tmpfs {folder} && cp -r {models} {folder} && "
            f'(cat /dev/zero >{folder}/full 2>/dev/null; exec "$@")'
        )
        prefix = ("unshare", "-rm", "sh", "-c", fill, "-")
        if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
            raise NotHereError("mount namespaces aren't allowed here (`unshare -rm`)")
        async with Serving(*prefix, FAQLAB_CACHE_DIR=folder) as serving, serving.call() as call:
            words = (await call.caller.greeting()).reply
            return Seen(f"hears “{words}”", None, await call.answers(), serving.said(0))


async def clock_back() -> Seen:
    """Set the clock back by an hour during a call."""
    if not shutil.which("gcc"):
        raise NotHereError("there is no gcc, and libfaketime breaks Python's sleep")
    with tempfile.TemporaryDirectory() as folder:
        library, back = Path(folder) / "clock.so", Path(folder) / "back"
        build = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-", "-ldl"]
        subprocess.run(build, input=CLOCK, text=True, check=True)
        clock = {"LD_PRELOAD": str(library), "CLOCK_BACK": str(back)}
        async with Serving(**clock) as serving, serving.call() as call:
            await call.caller.greeting()
            since = time.perf_counter()
            back.touch()
            state = await call.answers()
            checked = await serving.health()
            try:
                async with serving.call() as other:
                    joined = f"a new caller hears “{(await other.speaks_again(time.perf_counter()))[1]}”"
            except FaqlabError:
                joined = "a new caller can't join, because livekit-server's clock was not set back (it is static)"
            return Seen(f"{joined}; /health: {checked}", None, state, serving.said(since))


# Gemini


async def gemini(
    *moods: Mood,
    key: str = "",
    refuse: bool = False,
    strike: Callable[[GeminiEmulator], Awaitable[None]] | None = None,
    **options: Any,
) -> Seen:
    """Call an agent on Gemini in these *moods*; *strike* comes when it has heard the question."""
    speak = Synthesizer.shared().speak_all
    speak(QUESTION)
    with tempfile.TemporaryDirectory() as folder:
        async with GeminiEmulator(*moods, transcribe=transcribe, speak=speak, **options) as google:
            if refuse:
                google.refuse()
            variables = google.environment(Path(folder))
            if key:
                variables["GOOGLE_API_KEY"] = key
            async with Serving(**variables) as serving, serving.call() as call:
                return await _gemini_call(call, serving, google, strike)


async def _gemini_call(
    call: Call,
    serving: Serving,
    google: GeminiEmulator,
    strike: Callable[[GeminiEmulator], Awaitable[None]] | None,
) -> Seen:
    while not call.signs and not call.caller.room.remote_participants:
        await asyncio.sleep(0.02)
    since = time.perf_counter()
    spoke, words = await call.speaks_again(since)
    if google.connections and google.connections[0].said:  # it greeted, so the fault comes with the question
        begun = time.perf_counter()
        asking = asyncio.create_task(call.caller.ask(QUESTION))
        if strike:
            while not google.connections[0].asked:
                await asyncio.sleep(0.02)
            await strike(google)
        since = begun + (await asking).speech_end_s
        spoke, words = await call.speaks_again(since)
        if words.endswith(HALF):  # and nothing yet after it
            since = call.voice()[-1]
            spoke, words = await call.speaks_again(since)
    return call.seen(since, spoke, words, await call.answers(), serving)


FAULTS: dict[str, tuple[str, Callable[[], Coroutine[Any, Any, Seen]]]] = {
    "server-killed": ("livekit-server is killed", partial(kill, "livekit-server")),
    "server-frozen": ("livekit-server is frozen for 10 s", freeze),
    "agent-killed": ("the agent is killed", partial(kill, "agent")),
    "agent-of-two-killed": ("the agent is killed, and there is another", kill_one_of_two),
    "health": ("livekit-server is frozen: `/health`", health),
    "network-down": ("the network is down for 5 s", partial(in_a_namespace, "network-down", NETWORK)),
    "loopback-only": ("there is no network but loopback", partial(in_a_namespace, "loopback-only", LOOPBACK)),
    "caller-killed": ("the caller's program is killed", kill_caller),
    "caller-muted": ("the caller is muted", mute),
    "other-device": ("the caller joins on another device", other_device),
    "two-sigterms": ("two SIGTERMs", two_sigterms),
    "ctrl-c": ("Ctrl-C during imports", interrupt_imports),
    "disk-full": ("the disk is full when the index is cached", disk_full),
    "clock-back": ("the clock is set back by an hour", clock_back),
    "gemini-key": ("Gemini refuses the key", partial(gemini, key="AIza-refused")),
    "gemini-refused": ("Gemini refuses the connection", partial(gemini, refuse=True)),
    "gemini-1008": ("Gemini closes each connection (1008)", partial(gemini, Mood.BROKEN, close_code=1008)),
    "gemini-1011": ("Gemini closes each connection (1011)", partial(gemini, Mood.BROKEN)),
    "gemini-1011-once": (
        "Gemini closes the connection once (1011)",
        partial(gemini, Mood.STUCK, Mood.WELL, strike=GeminiEmulator.break_off),
    ),
    "gemini-go-away": (
        "Gemini announces its end (GoAway)",
        partial(gemini, Mood.STUCK, Mood.WELL, strike=GeminiEmulator.go_away),
    ),
    "gemini-cut-off": ("Gemini breaks off in an answer", partial(gemini, Mood.CUT_OFF, Mood.WELL)),
    "gemini-cancelled": ("Gemini cancels its tool call", partial(gemini, Mood.CANCELLING)),
    "gemini-silent": ("Gemini never says a word", partial(gemini, Mood.MUTE)),
    "gemini-stuck": ("Gemini doesn't answer a question", partial(gemini, Mood.STUCK)),
    "gemini-frozen": ("the network to Gemini is gone", partial(gemini, Mood.FROZEN, Mood.HANGING)),
    "gemini-stalled": ("the network to Gemini goes in an answer", partial(gemini, Mood.STALLED, Mood.HANGING)),
    "gemini-slow": ("Gemini answers after 4 s", partial(gemini, Mood.SLOW)),
}
INSIDE_FAULTS = {"network-down": network_down, "loopback-only": loopback_only}


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help=f"Of {', '.join(FAULTS)}.")] = None,
    as_json: command.JsonOption = False,
) -> None:
    """Play the faults with these names, or all."""
    if unknown := set(names or ()) - FAULTS.keys():
        raise FaqlabError(f"There is no fault {', '.join(sorted(unknown))}; --help names them.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no `faqlab serve` is left behind
    rows = [{"fault": FAULTS[name][0], **asdict(play(name))} for name in names or FAULTS]
    if as_json:
        command.print_json(rows)
        return
    table = pd.DataFrame(rows).rename(columns={"silence_s": "longest silence, s"}).astype(object).fillna("–")
    typer.echo("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        typer.echo("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |")


def play(name: str) -> Seen:
    """Play one fault; what goes wrong in that is said where the caller's part would be."""
    _, fault = FAULTS[name]
    if os.environ.get(INSIDE) == name:
        fault = INSIDE_FAULTS[name]
    try:
        return asyncio.run(fault())
    except NotHereError as why:
        return Seen(f"not played: {why}")
    except (FaqlabError, LookupError, OSError, aiohttp.ClientError) as error:
        return Seen(f"not played to its end: {error!r}")


if __name__ == "__main__":
    command.run(main)
