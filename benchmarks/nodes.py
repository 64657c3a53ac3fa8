"""
More machines, all of them this one: calls spread over two agents, and over two LiveKit servers, one of which is killed.

A load balancer stands in front of the servers (nodes), as callers of a dead node couldn't reach another one otherwise.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
import typer
from livekit import rtc

from benchmarks import command
from benchmarks.programs import SHORT_FAQ, Page, Program, answered_right, environment, faqlab, short_faq
from benchmarks.scripted_caller import ScriptedCaller, join
from faqlab.errors import FaqlabError
from faqlab.voice.livekit_server import LiveKit, free_port, program, server_config
from faqlab.voice.services import BackgroundService
from faqlab.voice.tts import Synthesizer

AGENTS = 2
AT_ONCE = 2
"""How many callers join, and ask, at once."""

QUESTION = next(iter(SHORT_FAQ))

WATCH_S = 20.0
"""For how long the calls are watched after a node was killed."""

NEW_CALLS = 2
"""That are made after that."""


def main(
    calls: Annotated[int, typer.Option(min=1, metavar="N", help="How many calls to hold.")] = 8,
    as_json: command.JsonOption = False,
) -> None:
    """Hold calls with two agents on one LiveKit server; then with two agents on two servers, of which one is killed."""
    if not shutil.which("redis-server"):
        raise FaqlabError("redis-server isn't installed (Debian and Ubuntu: apt-get install redis-server).")
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # lost connections are expected
    Synthesizer.shared().speak_all(QUESTION)  # now, because it would take the processor from the agents
    report = {}
    for title, nodes in (("one server", 1), ("two servers", 2)):
        command.progress(f"Two agents, {title}")
        with cluster(nodes, calls) as running:
            report[title] = asyncio.run(measure(running, calls))
    if as_json:
        command.print_json(report)
    else:
        typer.echo(format_report(report))


@dataclass(frozen=True)
class Cluster:
    """LiveKit servers by the id that they have in Redis, and the page."""

    nodes: dict[str, Program]
    page: Page
    redis_port: int | None

    def node_of(self, room: str) -> str:
        return _redis(self.redis_port, "hget", "room_node_map", room)[0] if self.redis_port else next(iter(self.nodes))


@contextmanager
def cluster(nodes: int, calls: int) -> Iterator[Cluster]:
    """Run LiveKit servers, two agents that take *calls* calls each, and the page, for a `with` block."""
    with ExitStack() as running:
        balancer = running.enter_context(Balancer())
        livekit = LiveKit(f"ws://127.0.0.1:{balancer.port}", "faqlab", secrets.token_urlsafe(48))
        redis_port = free_port(socket.SOCK_STREAM) if nodes > 1 else None
        if redis_port:
            running.enter_context(_redis_server(redis_port))
        programs: dict[str, Program] = {}
        for _ in range(nodes):
            port = free_port(socket.SOCK_STREAM)
            node = running.enter_context(_node(livekit, port, redis_port))
            names = set(_redis(redis_port, "hkeys", "nodes")) - {*programs} if redis_port else {"the only one"}
            programs[names.pop()] = node
            balancer.ports.append(port)
        variables = environment(
            LIVEKIT_URL=livekit.url,
            LIVEKIT_API_KEY=livekit.api_key,
            LIVEKIT_API_SECRET=livekit.api_secret,
            FAQLAB_CALLS=calls,
        )
        faqs = running.enter_context(short_faq())
        for _ in range(AGENTS):
            agent = Program(*faqlab("agent", "--faqs", faqs), ready="Answering up to", environment=variables)
            running.enter_context(agent)
        page = running.enter_context(Page(*faqlab("tokens"), environment=variables))
        yield Cluster(programs, page, redis_port)


class Balancer(BackgroundService):
    """Passes TCP connections on to `ports` of this machine in turn, except to those that accept none."""

    def __init__(self) -> None:
        super().__init__("The load balancer")
        self.ports: list[int] = []
        self._turn = 0

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready()
        await self._until_stopped(asyncio.create_task(server.serve_forever()))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        for n in range(len(self.ports)):
            try:
                up = await asyncio.open_connection("127.0.0.1", self.ports[(self._turn + n) % len(self.ports)])
            except OSError:
                continue
            await asyncio.gather(_copy(reader, up[1]), _copy(up[0], writer))
            return
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def _node(livekit: LiveKit, port: int, redis_port: int | None) -> Program:
    config = server_config(livekit, port, free_port(socket.SOCK_DGRAM)) | {"logging": {"level": "info"}}
    if redis_port:
        config["redis"] = {"address": f"127.0.0.1:{redis_port}"}
    settings = environment(LIVEKIT_CONFIG=json.dumps(config))
    return Program(program(), ready="starting LiveKit server", environment=settings)


def _redis_server(port: int) -> Program:
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Program("redis-server", *map(str, options), ready="Ready to accept connections", environment=environment())


def _redis(port: int | None, *command: str) -> list[str]:
    """Return the lines that Redis answers."""
    return subprocess.run(
        ["redis-cli", "-p", str(port), *command], capture_output=True, text=True, check=True
    ).stdout.splitlines()


async def measure(cluster: Cluster, calls: int) -> dict[str, Any]:
    """
    Hold *calls* calls. If there are two nodes, kill one, watch what becomes of the calls, and make new ones.

    Returns:
        `calls`: the `node` and the `agent` of each, numbered in the order in which they got calls, and after the kill
        whether it was the `node_killed`, and what it `became`; and `new_calls`, see `new_call`.
    """
    async with AsyncExitStack() as held:
        turn = asyncio.Semaphore(AT_ONCE)

        async def hold() -> ScriptedCaller:
            async with turn:
                caller = await held.enter_async_context(join(cluster.page))
                await caller.greeting()
                return caller

        callers = await asyncio.gather(*(hold() for _ in range(calls)))
        nodes = [cluster.node_of(caller.room.name) for caller in callers]
        agents = [_agent_in(caller).rpartition("-")[0] for caller in callers]  # an agent's process, without its job
        rows = [{"node": n, "agent": m} for n, m in zip(_numbered(nodes), _numbered(agents), strict=True)]
        if len(cluster.nodes) == 1:
            return {"calls": rows}
        cluster.nodes[nodes[0]].process.kill()
        became = await asyncio.gather(*(watch(caller, turn) for caller in callers))
    rows = [{**row, "node_killed": row["node"] == 1, **of} for row, of in zip(rows, became, strict=True)]
    return {"calls": rows, "new_calls": [await new_call(cluster.page) for _ in range(NEW_CALLS)]}


def _numbered(names: list[str]) -> list[int]:
    numbers = {name: n for n, name in enumerate(dict.fromkeys(names), 1)}
    return [numbers[name] for name in names]


async def watch(caller: ScriptedCaller, turn: asyncio.Semaphore) -> dict[str, Any]:
    """
    Watch a call for some time, then ask a question.

    Returns:
        `became`: the call *went on* with the same agent, was *taken over* by another one, or was *lost*, because the
        question wasn't answered; and `alone_s`: after how many seconds an agent was there again, 0 if one always was.
    """
    agent, began, alone = _agent_in(caller), time.perf_counter(), 0.0
    while (now := time.perf_counter() - began) < WATCH_S:
        alone = alone if _agent_in(caller) else now
        await asyncio.sleep(0.1)
    async with turn:
        answered = answered_right(await caller.ask(QUESTION))
    went_on = "went on" if _agent_in(caller) == agent else "taken over"
    return {"became": went_on if answered else "lost", "alone_s": round(alone, 1)}


def _agent_in(caller: ScriptedCaller) -> str:
    """Return who the agent in a caller's room is; "" if there is none, or the caller has no connection."""
    connected = caller.room.connection_state == rtc.ConnectionState.CONN_CONNECTED
    others = caller.room.remote_participants.values() if connected else ()
    return next((of.identity for of in others if of.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT), "")


async def new_call(page: Page) -> dict[str, Any]:
    """Make a call; return `greeted_s`, None if there was no greeting, and whether the question was answered `right`."""
    began = time.perf_counter()
    try:
        async with join(page) as caller:
            greeted = round(time.perf_counter() - began, 1) if await caller.greeting_begins() else None
            return {"greeted_s": greeted, "right": answered_right(await caller.ask(QUESTION))}
    except FaqlabError:  # it couldn't join
        return {"greeted_s": None, "right": False}


def format_report(report: dict[str, Any]) -> str:
    """Return the report of `main` as text."""
    lines = []
    for title, result in report.items():
        table = pd.DataFrame(result["calls"])
        lines += [f"{title}: calls by node and agent", "", pd.crosstab(table["node"], table["agent"]).to_string(), ""]
    lines += ["After one node was killed", "", table.to_string(index=False), "", "New calls", ""]
    return "\n".join([*lines, pd.DataFrame(result["new_calls"]).to_string(index=False, na_rep="–")])


if __name__ == "__main__":
    command.run(main)
