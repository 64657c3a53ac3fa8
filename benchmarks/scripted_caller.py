"""A scripted caller: joins a call, asks in a synthesized voice, and records what the agent says and when."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
import numpy as np
import pandas as pd
from livekit import rtc
from scipy.signal import resample_poly
from tqdm.auto import tqdm

from benchmarks.call_audio import CHUNK, RATE, CallAudio, pieces, transcribe, with_pause
from benchmarks.proxy import joining_directly
from faqlab.errors import FaqlabError
from faqlab.lookup_log import STAGES, LookupRecord
from faqlab.voice import whisper
from faqlab.voice.call import LOOKUP_TOPIC
from faqlab.voice.tts import Synthesizer

if TYPE_CHECKING:
    from benchmarks.programs import Page
    from faqlab.voice.demo import LiveDemo

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_CONNECT_S = 15.0
_SILENT_S = 0.8  # after this silence an answer is over; longer below, if the agent doesn't publish its state
_SILENT_WITHOUT_STATE_S = 1.6
_LONGEST_ANSWER_S = 60.0
_TRANSCRIPT_S = 1.0  # how long to wait for the end of a transcript


def call(demo: LiveDemo, queries: Sequence[str], at_once: int = 2) -> pd.DataFrame:
    """
    Ask each query in its own call, and return what happened.

    An interrupt (Ctrl-C, the notebook's stop button) hangs up and leaves nothing running.

    Args:
        demo: A running demo.
        queries: What to ask.
        at_once: How many calls are held at the same time.

    Returns:
        The table of `call_table`. If some calls fail but not all, the failures are logged and their rows are empty.

    Raises:
        FaqlabError: The demo isn't running, or no call succeeded.
    """
    return call_table(place_calls(demo, queries, at_once), demo)


def place_calls(
    demo: LiveDemo | Page, queries: Sequence[str], at_once: int = 1, *, progress: str | None = None, **options: Any
) -> list[Exchange]:
    """Like `call`, but return the exchanges; *progress* labels a bar, *options* are those of `ask`."""
    limit = asyncio.Semaphore(at_once)
    bar = tqdm(total=len(queries), desc=progress, unit="call", disable=progress is None)

    async def one_call(query: str) -> Exchange | Exception:
        async with limit:
            try:
                return await ask(demo, query, **options)
            except Exception as error:
                return error
            finally:
                bar.update()

    async def all_calls() -> list[Exchange | Exception]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one_call(query)) for query in queries]
        return [task.result() for task in tasks]

    with bar:
        ended = run_in_thread(all_calls())
    failed = [error for error in ended if isinstance(error, Exception)]
    if failed and len(failed) == len(ended):
        raise failed[0]
    for query, error in zip(queries, ended, strict=True):
        if isinstance(error, Exception):
            _log.warning("The call that asked %r failed: %s", query, error or type(error).__name__)
    return [Exchange(query) if isinstance(of, Exception) else of for query, of in zip(queries, ended, strict=True)]


async def ask(demo: LiveDemo | Page, query: str, *, interrupt_greeting: bool = False, **options: Any) -> Exchange:
    """Ask *query* in its own call, after the greeting or into it; *options* are those of `ScriptedCaller.ask`."""
    async with join(demo) as caller:
        await (caller.greeting_begins() if interrupt_greeting else caller.greeting())
        return await caller.ask(query, **options)


@asynccontextmanager
async def join(demo: LiveDemo | Page, timeout: float = 20.0) -> AsyncIterator[ScriptedCaller]:
    """
    Join a new call of a running *demo*, and hang up at the end of the block; for *timeout* see `ScriptedCaller`.

    Raises:
        FaqlabError: The page gave no token, or the server refused it.
    """
    async with ScriptedCaller(*await request_token(demo.url), timeout=timeout) as caller:
        yield caller


async def request_token(page: str) -> tuple[str, str]:
    """Return the LiveKit server's address and the token of a new call, from the *page*'s URL, or raise FaqlabError."""
    try:
        async with aiohttp.ClientSession(raise_for_status=True) as http, http.get(page + "getToken") as response:
            token = await response.json()
    except aiohttp.ClientError as error:
        raise FaqlabError(f"{page}: the scripted caller got no token ({error}).") from None
    return token["url"], token["token"]


@dataclass(frozen=True)
class Exchange:
    """
    A question and what the agent made of it, as the caller saw it.

    Attributes:
        query: What the caller said.
        transcripts: What the agent understood, in order; several if it took the question for more than one turn.
        reply: What the agent said, from the transcript that it sends.
        lookups: The look-ups, as they are sent to the page.
        first_audio_s: Seconds from the end of the caller's speech to the agent's first audio; None if none came.
        cut_in: Whether the agent spoke before the caller had finished.
        stopped_after_s: Seconds from the start of an interruption until the agent was silent; None if it went on, or
            wasn't interrupted.
        audio: What the agent said, int16 at `RATE`, from the start of the exchange.
        speech_end_s: Seconds from the start of the exchange to the end of the caller's speech.
        reply_transcribed: Whisper's transcript of `audio`, if requested.
    """

    query: str
    transcripts: tuple[str, ...] = ()
    reply: str = ""
    lookups: tuple[dict[str, Any], ...] = ()
    first_audio_s: float | None = None
    cut_in: bool = False
    stopped_after_s: float | None = None
    audio: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16), repr=False)
    speech_end_s: float = 0.0
    reply_transcribed: str = ""

    @property
    def transcript(self) -> str:
        """The last of `transcripts`, or ""."""
        return self.transcripts[-1] if self.transcripts else ""


class ScriptedCaller:
    """
    One participant in one room: `async with ScriptedCaller(url, token) as caller: await caller.ask("…")`.

    It waits at most *timeout* seconds for an answer; one that never comes is an `Exchange` without audio.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 20.0) -> None:
        logging.getLogger("livekit").setLevel(logging.CRITICAL)  # the SDK logs as errors what it recovers from
        # livekit 1.1 logs by `logging.info` there, which would give the root logger a handler that writes to stderr.
        rtc.room.logging = logging.getLogger("livekit")  # type: ignore[assignment]
        self._url, self._token, self._timeout = url, token, timeout
        self.room = rtc.Room()
        self._audio = CallAudio()
        self._tasks: set[asyncio.Task[None]] = set()
        self._texts = _CallTexts(self.room)

    async def __aenter__(self) -> Self:
        """
        Join the room and publish a microphone.

        Raises:
            FaqlabError: The server refused or didn't answer.
        """
        joining = asyncio.create_task(self._join())
        try:
            await asyncio.shield(joining)  # cancelled halfway, LiveKit's SDK ends the process some seconds later
        except BaseException:
            await asyncio.gather(joining, return_exceptions=True)
            await self.leave()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Hang up; does nothing the second time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.room.disconnect(), _CONNECT_S)

    async def greeting(self) -> Exchange:
        """Wait until the agent has greeted, and return that."""
        return await self.ask("")

    async def greeting_begins(self) -> bool:
        """Wait until the agent begins to greet; return False if it didn't."""
        return await self._answer_begins(0.0)

    async def ask(
        self,
        query: str,
        *,
        voice: str = "hibari",
        pause: float | None = None,
        interrupt: str | None = None,
        interrupt_after: float = 1.0,
        hang_up_after: float | None = None,
        transcribe_reply: bool = False,
    ) -> Exchange:
        """
        Say *query*, and return what happened once the agent has answered.

        Args:
            query: What to say, at once, even while the agent speaks; "" only listens.
            voice: In which voice, one of `benchmarks.voices.FITTED` or `HELD_OUT`.
            pause: Seconds of silence in the middle, between two words.
            interrupt: What to say during the answer; `first_audio_s` is then measured from its end.
            interrupt_after: When to say that, in seconds from the start of the answer.
            hang_up_after: When to leave, in seconds from the start of the answer.
            transcribe_reply: Run Whisper over what the agent said, for `reply_transcribed`.
        """
        speech = await asyncio.to_thread(_speech, query, voice, pause)
        interruption = await asyncio.to_thread(_speech, interrupt, voice) if interrupt else None
        self._audio.forget()
        start, counts = time.perf_counter(), self._texts.counts()
        began, ended = await self._audio.speak(speech)
        first = self._audio.first_sound(began)
        cut_in, stopped_after = first is not None and first < ended, None
        if await self._answer_begins(ended) and interruption is not None:
            await asyncio.sleep(interrupt_after)
            began, ended = await self._audio.speak(interruption)
            silent = self._audio.silent_from(began)
            stopped_after = None if silent is None else silent - began
            await self._answer_begins(ended)
        await self._end_exchange(ended, hang_up_after)
        first = self._audio.first_sound(ended)
        exchange = Exchange(
            query,
            **self._texts.since(counts),
            first_audio_s=None if first is None else first - ended,
            cut_in=cut_in,
            stopped_after_s=stopped_after,
            audio=self._audio.received_since(start),
            speech_end_s=ended - start,
        )
        return await asyncio.to_thread(_with_reply_transcribed, exchange) if transcribe_reply else exchange

    async def _join(self) -> None:
        self.room.on("track_subscribed", self._on_track)
        self.room.register_text_stream_handler("lk.transcription", lambda *of: self._start(self._texts.transcript(*of)))
        self.room.register_text_stream_handler(LOOKUP_TOPIC, lambda reader, _: self._start(self._texts.lookup(reader)))
        try:
            with joining_directly(self._url):
                await asyncio.wait_for(self.room.connect(self._url, self._token), _CONNECT_S)
            source = rtc.AudioSource(RATE, 1)
            microphone = rtc.LocalAudioTrack.create_audio_track("microphone", source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
            await asyncio.wait_for(self.room.local_participant.publish_track(microphone, options), _CONNECT_S)
        except (rtc.ConnectError, rtc.participant.PublishTrackError, TimeoutError) as error:
            raise FaqlabError(f"{self._url}: the scripted caller couldn't join ({error or 'no answer'}).") from None
        self._start(self._audio.send(source))

    async def _end_exchange(self, ended: float, hang_up_after: float | None) -> None:
        if hang_up_after is None:
            await self._wait_until(lambda: self._answer_is_over(ended), _LONGEST_ANSWER_S)
            await self._wait_until(lambda: not self._texts.unfinished, _TRANSCRIPT_S)
        else:
            await asyncio.sleep(hang_up_after)
            await self.leave()

    async def _answer_begins(self, ended: float) -> bool:
        return await self._wait_until(lambda: self._audio.first_sound(ended) is not None, self._timeout)

    def _answer_is_over(self, ended: float) -> bool:
        participants = self.room.remote_participants.values()
        state = next((of for p in participants if (of := p.attributes.get("lk.agent.state"))), None)
        last = self._audio.last_sound()
        if self._audio.first_sound(ended) is None or last is None or state == "speaking":
            return False
        return time.perf_counter() - last > (_SILENT_S if state else _SILENT_WITHOUT_STATE_S)

    async def _wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Return whether *condition* came true before the time was up or the call ended."""
        deadline = time.perf_counter() + timeout
        while not condition():
            if time.perf_counter() > deadline or not self.room.isconnected():
                return False
            await asyncio.sleep(0.02)
        return True

    def _on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=1000 * CHUNK // RATE)
            self._start(self._audio.receive(stream))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _CallTexts:
    """The transcripts and look-ups that are sent to the caller."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._transcripts: dict[str, str] = {}  # by segment: a later version replaces an earlier one
        self._replies: dict[str, str] = {}
        self._lookups: list[dict[str, Any]] = []
        self.unfinished = 0

    def counts(self) -> tuple[int, int, int]:
        return len(self._transcripts), len(self._replies), len(self._lookups)

    def since(self, counts: tuple[int, int, int]) -> dict[str, Any]:
        transcripts, replies = (
            [text.strip() for text in list(texts.values())[count:] if text.strip()]
            for texts, count in zip((self._transcripts, self._replies), counts, strict=False)
        )
        lookups = self._lookups[counts[2] :]
        return {"transcripts": tuple(transcripts), "reply": " ".join(replies), "lookups": tuple(lookups)}

    async def transcript(self, reader: rtc.TextStreamReader, identity: str) -> None:
        texts = self._transcripts if identity == self._room.local_participant.identity else self._replies
        segment, text = str((reader.info.attributes or {}).get("lk.segment_id", reader.info.stream_id)), ""
        self.unfinished += 1
        try:
            with suppress(rtc.StreamError):  # the call ended
                async for chunk in reader:
                    text += chunk
                    texts[segment] = text
        finally:
            self.unfinished -= 1

    async def lookup(self, reader: rtc.TextStreamReader) -> None:
        with suppress(rtc.StreamError):  # the call ended
            self._lookups.append(json.loads(await reader.read_all()))


def _speech(text: str, voice: str, pause: float | None = None) -> np.ndarray:
    speech = _spoken(text, voice)
    return speech if pause is None else with_pause(speech, _middle(text, voice, speech), pause)


def _spoken(text: str, voice: str) -> np.ndarray:
    if voice == "hibari" or not text:
        return Synthesizer.shared().speak_all(text)
    from benchmarks import voices  # here, because notebook 5 needs none of what it imports

    return resample_poly(voices.speak(text, voice), RATE, voices.RATE)


def _middle(text: str, voice: str, speech: np.ndarray) -> int:
    """Return the sample between the two middle words of *text*: the quietest one near where they should be."""
    words = text.split()
    first, second = words[: len(words) // 2], words[len(words) // 2 :]
    before, after = (len(_spoken(" ".join(half), voice)) for half in (first, second))
    expected, reach = int(len(speech) * before / max(1, before + after)), RATE // 7
    start = max(0, expected - reach)
    power = np.convolve(np.square(speech[start : expected + reach]), np.ones(RATE // 50), "same")
    return start + int(power.argmin()) if len(power) else expected


def _with_reply_transcribed(exchange: Exchange) -> Exchange:
    audio = resample_poly(exchange.audio.astype(np.float32) / 32768, whisper.SAMPLE_RATE, RATE)
    parts = pieces(audio.astype(np.float32), whisper.SAMPLE_RATE)
    return replace(exchange, reply_transcribed=" ".join(filter(None, map(transcribe, parts))))


def call_table(exchanges: Sequence[Exchange], demo: LiveDemo) -> pd.DataFrame:
    """
    Return one row per exchange.

    Args:
        exchanges: From `place_calls`.
        demo: The demo that was called; only its records tell when the agent's speech began.

    Returns:
        `query`, `transcript`, `outcome` (missing if nothing was looked up), `retrieved` (ids, best first), `offered`
        (ids, if the agent asked a clarifying question), `reply`, `cut_in`, `first_audio_ms` (from the end of the
        caller's speech to the first audio of the reply, at the caller), and the parts of it that the agent measures.
    """
    records = {record.id: record for record in demo.calls.records}
    return pd.DataFrame([_row(exchange, records) for exchange in exchanges])


def _row(exchange: Exchange, records: Mapping[str, LookupRecord]) -> dict[str, Any]:
    lookup = exchange.lookups[-1] if exchange.lookups else {"id": "", "outcome": None, "hits": [], "choices": []}
    record, seconds = records.get(lookup["id"]), exchange.first_audio_s
    stages = record.milliseconds if record else lookup.get("milliseconds", {})
    ids = [hit["id"] for hit in lookup["hits"]]
    return {
        "query": exchange.query,
        "transcript": exchange.transcript,
        "outcome": lookup["outcome"],
        "retrieved": ids,
        "offered": ids[: len(lookup["choices"])],
        "reply": exchange.reply,
        "cut_in": exchange.cut_in,
        "first_audio_ms": None if seconds is None else round(seconds * 1e3),
        **{f"{stage}_ms": stages.get(stage) for stage in STAGES},
    }


def run_in_thread(work: Coroutine[Any, Any, Result]) -> Result:
    """
    Run *work* in a loop on another thread, since a notebook's own loop runs on this one; return its result.

    An interrupt cancels it, and is raised once it has ended.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    async def result() -> Result:
        return await task

    def run() -> Result:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(result())

    with ThreadPoolExecutor(1, "scripted-caller") as thread:
        running = thread.submit(run)
        try:
            return running.result()
        except BaseException:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(task.cancel)
            raise
