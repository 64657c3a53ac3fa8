"""The agent's worker at a real LiveKit server; an assistant that only takes its calls, without models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from conftest import until, wait_until
from livekit import rtc
from livekit.agents import JobContext
from livekit.api import (
    AccessToken,
    CreateAgentDispatchRequest,
    RoomAgentDispatch,
    RoomConfiguration,
    VideoGrants,
)

from faqlab.errors import FaqlabError
from faqlab.voice.call import AGAIN, LEFT
from faqlab.voice.livekit_server import LiveKit, LocalServer
from faqlab.voice.worker import HIGHEST_LOAD, Worker


@dataclass
class TakesCalls:
    """An assistant that joins the rooms it is called into, unless one is there, and stays until a caller leaves."""

    rooms: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)

    async def converse(self, job: JobContext, livekit: LiveKit) -> None:
        await job.connect()
        others = job.room.remote_participants.values()
        if any(other.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT for other in others):
            job.shutdown("another agent is there")  # called because this one took more than a second to come
            return
        hung_up = rtc.DisconnectReason.CLIENT_INITIATED
        job.room.on("participant_disconnected", lambda who: who.disconnect_reason == hung_up and job.shutdown(LEFT))
        self.rooms.append(job.room.name)
        self.metadata.append(job.job.metadata)


def worker(livekit: LiveKit, assistant: TakesCalls, name: str = "tested", lines: int = 100) -> Worker:
    return Worker(livekit, assistant, name, lines)  # type: ignore[arg-type]


@asynccontextmanager
async def caller(livekit: LiveKit, room: str, agent_name: str = "tested") -> AsyncIterator[rtc.Room]:
    """Yield the room that a caller has joined, with a token that calls *agent_name*."""
    token = AccessToken(livekit.api_key, livekit.api_secret).with_identity(f"caller-{uuid4().hex}")
    token = token.with_grants(VideoGrants(room_join=True, room=room))
    token = token.with_room_config(RoomConfiguration(agents=[RoomAgentDispatch(agent_name=agent_name)]))
    joined = rtc.Room()
    await joined.connect(livekit.url, token.to_jwt())
    try:
        yield joined
    finally:
        await joined.disconnect()


def call(livekit: LiveKit, agent_name: str) -> str:
    """Call the agent into a new room, and return the room's name."""
    room = f"room-{uuid4().hex}"

    async def dispatch() -> None:
        async with livekit.api() as api:
            await api.agent_dispatch.create_dispatch(CreateAgentDispatchRequest(agent_name=agent_name, room=room))

    asyncio.run(dispatch())
    return room


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


def test_it_leaves_threads_as_they_were_and_can_start_again(livekit_server: LiveKit) -> None:
    threads = set(threading.enumerate())
    agent = worker(livekit_server, TakesCalls())
    for _ in range(2):
        with agent:
            assert agent.start() is agent
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


# As many calls as it has lines


async def test_whoever_finds_all_lines_busy_is_answered_when_one_is_free(livekit_server: LiveKit) -> None:
    assistant = TakesCalls()
    with worker(livekit_server, assistant, lines=2):
        async with AsyncExitStack() as others, caller(livekit_server, "one"):
            await others.enter_async_context(caller(livekit_server, "two"))
            await until(lambda: len(assistant.rooms) == 2)
            async with caller(livekit_server, "waits") as room:
                await asyncio.sleep(3)
                assert "waits" not in assistant.rooms and not room.remote_participants
                await others.aclose()
                await until(lambda: "waits" in assistant.rooms)
                await until(lambda: room.remote_participants)
    assert assistant.metadata == ["", "", ""]


async def test_a_caller_who_came_before_any_agent_is_answered_and_strangers_are_left_alone(
    livekit_server: LiveKit,
) -> None:
    assistant = TakesCalls()
    async with caller(livekit_server, "early"), caller(livekit_server, "not ours", "another"):
        with worker(livekit_server, assistant):
            await until(lambda: assistant.rooms == ["early"])
            await asyncio.sleep(3)
    assert assistant.rooms == ["early"]


async def test_a_caller_whose_agent_is_lost_gets_another_one_that_knows_it(livekit_server: LiveKit) -> None:
    assistant = TakesCalls()
    with worker(livekit_server, assistant) as lost:
        async with caller(livekit_server, "goes on") as room:
            await until(lambda: assistant.metadata == [""])
            await livekit_server.remove_participants("somebody-else")
            async with livekit_server.api(120) as api:  # LiveKit's server lists the job some seconds later
                while not any(call.state.jobs for call in await api.agent_dispatch.list_dispatch("goes on")):
                    await asyncio.sleep(0.1)
            assert room.remote_participants
            await livekit_server.remove_participants(lost.identity)
            await until(lambda: assistant.metadata == ["", AGAIN])


async def test_a_token_calls_no_agent_after_its_call_has_ended(livekit_server: LiveKit) -> None:
    assistant = TakesCalls()
    with worker(livekit_server, assistant) as agent:
        async with caller(livekit_server, "again") as room:
            await until(lambda: room.remote_participants)
        await until(lambda: "again" in agent._ended)
        async with caller(livekit_server, "again") as room:
            await until(lambda: not room.isconnected())
    assert assistant.rooms == ["again"]


async def test_it_opens_no_port(livekit_server: LiveKit) -> None:
    def ports() -> set[int]:
        return {c.laddr.port for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN}

    before = ports()
    with worker(livekit_server, TakesCalls()):
        assert ports() <= before


def test_with_all_lines_busy_its_load_is_just_below_what_livekit_allows() -> None:
    """LiveKit's server gives none to a worker with a load of 0.7, however many lines it has."""

    class Busy:
        active_jobs = range(4)

    agent = Worker(LiveKit("ws://127.0.0.1:1", "key", "secret"), None, "tested", 4)  # type: ignore[arg-type]
    assert agent._load(Busy()) == HIGHEST_LOAD < 0.7  # type: ignore[arg-type]


STARTED = """
import asyncio, sys
from faqlab.voice.livekit_server import LiveKit
from faqlab.voice.worker import Worker
from livekit.rtc._ffi_client import FfiClient
assert FfiClient._instance is None
with Worker(LiveKit(*sys.argv[1:]), None, "tested", 1):
    assert FfiClient._instance is not None
"""


def test_the_sdk_is_started_before_any_call(livekit_server: LiveKit) -> None:
    """Started by two calls at once, it would end the process."""
    arguments = [livekit_server.url, livekit_server.api_key, livekit_server.api_secret]
    subprocess.run([sys.executable, "-c", STARTED, *arguments], check=True)
