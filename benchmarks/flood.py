"""
A crowd of callers that joins at once: what becomes of the agent, of the calls under way, and of the crowd.

Callers, agent and LiveKit server share this machine; the crowd sends no sound, to leave the processor to them.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Annotated, Any

import aiohttp
import pandas as pd
import typer
from livekit.api import ListRoomsRequest, TokenVerifier

from benchmarks import command
from benchmarks.programs import SHORT_FAQ, Page, answered_right, serving
from benchmarks.scripted_caller import ScriptedCaller, join
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT
from faqlab.voice.livekit_server import API_ERRORS, LiveKit
from faqlab.voice.tts import Synthesizer

PROCESSES = 2
"""Of the crowd: a single one would be slow to join."""

PHASE_S = 20.0
"""For how long questions are asked before the crowd comes, how long it stays, and for how long they're asked then."""

PAUSE_S = 2.0
"""Between an answer and the next question."""

ROOMS_END_S = 90.0
REQUESTS_AT_ONCE = 20


@dataclass(frozen=True)
class Question:
    """A question in a call under way: when it was spoken, when its exchange ended, and how long the answer took."""

    spoken: float
    ended: float
    wait: float | None
    right: bool


def main(
    callers: Annotated[int, typer.Option(min=1, metavar="N", help="How many callers join at once.")] = 50,
    runs: Annotated[int, typer.Option(min=0, metavar="N", help="How often they do.")] = 5,
    calls: Annotated[int, typer.Option(min=1, metavar="N", help="Let the agent take N calls, all under way.")] = 2,
    tokens: Annotated[int, typer.Option(min=0, metavar="N", help="First request N tokens.")] = 1000,
    as_json: command.JsonOption = False,
) -> None:
    """Have a crowd join `faqlab serve` at once, while questions are asked in other calls. First request tokens."""
    report: dict[str, Any] = {"tokens": None, "runs": []}
    limits = {"FAQLAB_CALLS": calls, "FAQLAB_TOKENS_PER_MINUTE": 1_000_000}
    if tokens:
        with serving(**limits) as page:
            report["tokens"] = asyncio.run(request_tokens(page, tokens))
    for question in SHORT_FAQ:
        Synthesizer.shared().speak_all(question)  # now, because it would take the processor from the agent
    for run in range(runs):
        command.progress(f"Run {run + 1} of {runs}")
        with serving(**limits) as page:
            report["runs"].append(asyncio.run(flood(page, callers, calls)))
    if as_json:
        command.print_json(report)
    else:
        typer.echo(format_report(report))


async def request_tokens(page: Page, number: int) -> dict[str, Any]:
    """
    Request *number* tokens as fast as the page gives them.

    Returns:
        How many were `requested`, `given`, `valid` (signed with the LiveKit server's key and not expired) and
        `different` (for different callers in different rooms); `seconds`; and `per_second`.
    """
    livekit, began = page.livekit, time.perf_counter()

    async def request(http: aiohttp.ClientSession) -> str | None:
        async with http.get("getToken") as response:
            return (await response.json())["token"] if response.status == 200 else None

    connections = aiohttp.TCPConnector(limit=REQUESTS_AT_ONCE)
    async with aiohttp.ClientSession(page.url, connector=connections) as http:
        given = list(filter(None, await asyncio.gather(*(request(http) for _ in range(number)))))
    seconds, verifier, valid = time.perf_counter() - began, TokenVerifier(livekit.api_key, livekit.api_secret), []
    for token in given:
        with suppress(Exception):  # PyJWT's, of many kinds
            valid.append(verifier.verify(token))
    different = min(len({claims.identity for claims in valid}), len({of.video and of.video.room for of in valid}))
    counts = {"requested": number, "given": len(given), "valid": len(valid), "different": different}
    return {**counts, "seconds": round(seconds, 2), "per_second": round(number / seconds)}


async def flood(page: Page, callers: int, calls: int) -> dict[str, Any]:
    """
    Have *callers* join at once, in the middle of *calls* calls with a question every few seconds.

    When the crowd leaves, the first of these calls ends, too, and the next caller joins.

    Returns:
        Of the crowd, how many got `tokens`, `joined` and stayed, were `greeted`, and `waited` without an agent; whether
        it's the `same_agent` as before and `serve_runs`; for the questions `before`, `during` and `after`, see
        `answer_times`; `next_greeted_s`, from the end of the crowd to the next caller's greeting; `rooms_ended_s`, from
        the end of the last call to that of the last room; None if it took too long; `crowd_cores`, how many cores the
        crowd itself used; and `ended`, the end of serve's output if it doesn't run.
    """
    agent, livekit, questions = page.agent, page.livekit, list[Question]()
    async with AsyncExitStack() as under_way:
        crowd = [
            await _crowd(page, callers * (n + 1) // PROCESSES - callers * n // PROCESSES) for n in range(PROCESSES)
        ]
        first = await under_way.enter_async_context(AsyncExitStack())
        for n in range(calls):
            if not await (under_way if n else first).enter_async_context(questioning(page, questions)):
                raise FaqlabError(f"The agent takes only {n} calls; use --calls {n}.")
        await asyncio.sleep(PHASE_S)
        came = time.perf_counter()
        printed = await asyncio.gather(*(process.communicate(b"\n") for process in crowd))
        left, next_greeted = time.perf_counter(), None
        await first.aclose()
        with suppress(FaqlabError):  # serve has ended
            next_greeted = await under_way.enter_async_context(questioning(page, questions))
        await asyncio.sleep(PHASE_S)
    reports = [json.loads(out) for out, _ in printed if out]  # nothing if LiveKit's SDK has ended its process
    joined = [call for report in reports for call in report["calls"]]
    before = [of for of in questions if of.ended < came]
    after = [of for of in questions if of.spoken > left]
    return {
        "tokens": sum(call["token"] for call in joined),
        "joined": sum(call["joined"] for call in joined),
        "greeted": sum(call["greeted"] for call in joined),
        "waited": sum(call["joined"] and not call["agent"] and not call["greeted"] for call in joined),
        "same_agent": page.running and page.agent == agent,
        "serve_runs": page.running,
        "before": answer_times(before),
        "during": answer_times([of for of in questions if of not in before and of not in after]),
        "after": answer_times(after),
        "next_greeted_s": next_greeted and round(next_greeted - left, 2),
        "rooms_ended_s": await rooms_end(livekit),
        "crowd_cores": round(sum(report["cpu_s"] for report in reports) / (left - came), 2),
        "ended": "" if page.running else "\n".join(page.output.splitlines()[-5:]),
    }


async def _crowd(page: Page, callers: int) -> asyncio.subprocess.Process:
    """Start a process of *callers* callers, who join when it gets a line."""
    arguments = ["-m", "benchmarks.light_callers", page.url, str(callers), str(PHASE_S)]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # it sets the session's priority
    )


@asynccontextmanager
async def questioning(page: Page, questions: list[Question]) -> AsyncIterator[float | None]:
    """Ask in a separate call during a `with` block, which gets the time of the greeting; None if there was none."""
    async with join(page) as caller:
        greeted = time.perf_counter() if await caller.greeting_begins() else None
        asking = asyncio.create_task(_keep_asking(caller, questions))
        try:
            yield greeted
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def _keep_asking(caller: ScriptedCaller, questions: list[Question]) -> None:
    for question in cycle(SHORT_FAQ):
        began = time.perf_counter()
        exchange = await caller.ask(question)
        times = began + exchange.speech_end_s, time.perf_counter()
        questions.append(Question(*times, exchange.first_audio_s, answered_right(exchange)))
        await asyncio.sleep(PAUSE_S)


def answer_times(questions: Sequence[Question]) -> dict[str, Any]:
    """Return the number of `questions`, how many were answered `right`, and `p50_s` and `max_s`; None: unanswered."""
    waits = pd.Series([math.inf if of.wait is None else of.wait for of in questions], dtype=float)
    seconds = {"p50_s": waits.median(), "max_s": waits.max()}
    counts = {"questions": len(questions), "right": sum(of.right for of in questions)}
    return counts | {name: round(value, 2) if math.isfinite(value) else None for name, value in seconds.items()}


async def rooms_end(livekit: LiveKit) -> float | None:
    """Return after how many seconds there is no room left, None if that takes too long or the server has ended."""
    began = time.perf_counter()
    try:
        async with livekit.api() as api:
            while (await api.room.list_rooms(ListRoomsRequest())).rooms:
                if time.perf_counter() - began > ROOMS_END_S:
                    return None
                await asyncio.sleep(0.5)
    except API_ERRORS:
        return None
    return round(time.perf_counter() - began, 2)


def format_report(report: dict[str, Any]) -> str:
    """Return the report of `main` as text."""
    lines = []
    if tokens := report["tokens"]:
        counts = ", ".join(f"{tokens[name]} {name}" for name in ("requested", "given", "valid", "different"))
        lines += [f"Tokens: {counts}; {tokens['seconds']} s, {tokens['per_second']} a second", ""]
    table = pd.json_normalize(report["runs"])
    if len(table):
        table.index = pd.Index([f"run {n + 1}" for n in table.index])
        lines += [table.drop(columns="ended").T.to_string(na_rep="–")]
    ended = [
        f"\nRun {n}: faqlab serve has ended:\n{run['ended']}" for n, run in enumerate(report["runs"], 1) if run["ended"]
    ]
    return "\n".join(lines + ended)


if __name__ == "__main__":
    command.run(main)
