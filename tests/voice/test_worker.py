"""The agent's worker at a real LiveKit server; an assistant that only takes its calls, without models."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from livekit.agents import JobContext
from livekit.api import CreateAgentDispatchRequest, LiveKitAPI

from faqlab.errors import FaqlabError
from faqlab.voice.livekit_server import LiveKit, LocalServer
from faqlab.voice.worker import HIGHEST_LOAD, Worker, _load


@dataclass
class TakesCalls:
    """An assistant that joins the rooms it is called into, and stays."""

    rooms: list[str] = field(default_factory=list)

    async def converse(self, job: JobContext, livekit: LiveKit) -> None:
        await job.connect()
        self.rooms.append(job.room.name)


def worker(livekit: LiveKit, assistant: TakesCalls, name: str = "tested") -> Worker:
    return Worker(livekit, assistant, name)  # type: ignore[arg-type]


def call(livekit: LiveKit, agent_name: str) -> str:
    """Call the agent into a new room, and return the room's name."""
    room = f"room-{uuid4().hex}"

    async def dispatch() -> None:
        async with LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as api:
            await api.agent_dispatch.create_dispatch(CreateAgentDispatchRequest(agent_name=agent_name, room=room))

    asyncio.run(dispatch())
    return room


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_workers_share_the_calls_and_one_goes_on_alone(livekit_server: LiveKit) -> None:
    one, two = TakesCalls(), TakesCalls()
    with worker(livekit_server, two, "shared") as second:
        with worker(livekit_server, one, "shared"):
            for _ in range(40):  # the server chooses at random, by load: all to one would be one chance in 2 ** 39
                room = call(livekit_server, "shared")
                wait_until(lambda: room in one.rooms + two.rooms)  # noqa: B023
                if one.rooms and two.rooms:
                    break
        assert one.rooms and two.rooms
        room = call(livekit_server, "shared")
        wait_until(lambda: room in two.rooms)
        assert second.problem is None


def test_it_leaves_environment_and_threads_as_they_were_and_can_start_again(livekit_server: LiveKit) -> None:
    environment, threads = dict(os.environ), set(threading.enumerate())
    agent = worker(livekit_server, TakesCalls())
    for _ in range(2):
        with agent:
            assert dict(os.environ) == environment
            assert agent.start() is agent
    assert dict(os.environ) == environment
    assert [thread.name for thread in set(threading.enumerate()) - threads if "faqlab" in thread.name] == []


def test_a_livekit_server_that_refuses_the_key_is_an_error_that_says_so(livekit_server: LiveKit) -> None:
    stranger = replace(livekit_server, api_secret="x" * 40)
    with pytest.raises(FaqlabError, match="LIVEKIT_API_KEY and LIVEKIT_API_SECRET match"):
        worker(stranger, TakesCalls()).start()


def test_a_worker_that_has_lost_its_server_for_good_says_so(
    livekit_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faqlab.voice.worker.RECONNECTS", 1)
    with LocalServer(livekit_program) as server:
        agent = worker(server.livekit, TakesCalls()).start()
        assert agent.problem is None
    wait_until(lambda: agent.problem)
    assert str(agent.problem).startswith(f"The agent at {server.livekit.url} stopped unexpectedly (failed to connect")
    agent.stop()
    assert agent.problem is None


def test_however_many_calls_it_holds_the_server_gives_it_the_next() -> None:
    """LiveKit's server gives none to a worker with a load of 0.7, and tells nobody."""

    class Busy:
        active_jobs = range(10_000)

    assert 0.5 < _load(Busy()) < HIGHEST_LOAD < 0.7  # type: ignore[arg-type]
