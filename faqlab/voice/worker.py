"""
The agent's worker: registers with a LiveKit server and answers as many calls at once as it may.

LiveKit's open-source server has no queue: if no agent is free when a caller comes, or the caller's agent dies, it sends
no other. So an agent with a free line looks for callers who are alone, and has LiveKit dispatch an agent to them.
"""

import asyncio
import secrets
from collections import deque
from contextlib import suppress

from livekit import api as lk
from livekit.agents import NOT_GIVEN, AgentServer, JobContext, JobExecutorType, JobRequest

from faqlab.errors import FaqlabError
from faqlab.voice.call import AGAIN, OVER, Assistant
from faqlab.voice.livekit_server import API_ERRORS, LiveKit
from faqlab.voice.sdk import start_sdk
from faqlab.voice.services import BackgroundService

RECONNECTS = 16  # attempts to reach a lost LiveKit server before the worker gives up, after about two minutes
HIGHEST_LOAD = 0.6  # of an agent whose lines are all busy; LiveKit's server expects at most 0.7
LOOK_SECONDS = 0.5  # how often an agent with a free line looks for callers who are alone
COMING_SECONDS, CALLED_SECONDS = 1.0, 3.0  # how long an agent may be on its way to a new room, and after a dispatch
DISPATCHES = 5  # a caller who lost as many agents is not given another one
REMEMBERED = 10_000  # calls that have ended


class Worker(BackgroundService):
    """Takes at most *lines* calls at once, each on a thread and in a room to which LiveKit dispatches *agent_name*."""

    def __init__(self, livekit: LiveKit, assistant: Assistant, agent_name: str, lines: int) -> None:
        super().__init__(f"The agent at {livekit.url}")
        self._livekit, self._assistant, self._agent_name, self._lines = livekit, assistant, agent_name, lines
        self._ended = deque[str](maxlen=REMEMBERED)
        self._look_at: dict[str, float] | None = None  # when to look at a room next
        self.identity = f"agent-{secrets.token_hex(4)}-"  # begins the identities of its participants

    async def _serve(self) -> None:
        if not await self._livekit.answers():  # the worker would keep trying for two minutes
            raise FaqlabError(
                f"Can't connect to the LiveKit server at {self._livekit.url}; check that it is running, "
                "and that LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET match."
            )
        start_sdk(self._livekit.local)
        server = AgentServer(
            job_executor_type=JobExecutorType.THREAD,
            ws_url=self._livekit.url,
            api_key=self._livekit.api_key,
            api_secret=self._livekit.api_secret,
            num_idle_processes=self._lines,  # livekit-agents takes 1/this for the load of a call when there is none
            max_retry=RECONNECTS,
            load_fnc=self._load,
            load_threshold=HIGHEST_LOAD - 1e-6,  # rounding must not make room for one more
            http_proxy=None if self._livekit.local else NOT_GIVEN,
        )
        server.rtc_session(self._converse, agent_name=self._agent_name, on_request=self._accept)
        server.on("worker_registered", self._is_ready)
        # No HTTP port with name and load: livekit-agents 1.8 has no option for it, and reads this at once.
        server._simulation = True
        running = asyncio.create_task(server.run(devmode=True))
        await asyncio.sleep(0)
        server._simulation = False
        looking = asyncio.create_task(self._look_for_callers(server))
        await self._until_stopped(running, looking)
        await server.aclose()
        if looking.done():
            looking.result()
        looking.cancel()
        await running

    def _load(self, server: AgentServer) -> float:
        """Return the load by which LiveKit chooses a worker: calls, not CPU."""
        return HIGHEST_LOAD * len(server.active_jobs) / self._lines

    async def _accept(self, request: JobRequest) -> None:
        """Accept a call, unless it has ended: a token may be used again until it expires."""
        if request.room.name not in self._ended:
            await request.accept(identity=self.identity + request.id)
            return
        await request.reject(terminate=True)
        await self._livekit.delete_room(request.room.name)

    async def _converse(self, job: JobContext) -> None:
        async def remember(reason: str) -> None:
            if reason in OVER:
                self._ended.append(job.job.room.name)

        job.add_shutdown_callback(remember)
        await self._assistant.converse(job, self._livekit)

    async def _look_for_callers(self, server: AgentServer) -> None:
        await asyncio.wrap_future(self._ready)  # earlier, LiveKit's server would find nobody to dispatch
        while True:
            with suppress(*API_ERRORS):  # the next look may succeed
                if free := self._lines - len(server.active_jobs):
                    # livekit-agents 1.8 says this only every 2.5 s, and until it is said, LiveKit gives us no call.
                    await server._refresh_worker_load()
                    await server._update_worker_status()
                async with self._livekit.api() as api:
                    await self._send_agents(api, free)
            await asyncio.sleep(LOOK_SECONDS)

    async def _send_agents(self, api: lk.LiveKitAPI, free: int) -> None:
        """Have LiveKit dispatch agents to the oldest rooms that called us and have none, *free* at most."""
        now = asyncio.get_running_loop().time()
        rooms = sorted((await api.room.list_rooms(lk.ListRoomsRequest())).rooms, key=lambda room: room.creation_time_ms)
        # At its own first look, the callers are from before its time.
        before, soon = self._look_at or {}, now if self._look_at is None else now + COMING_SECONDS
        self._look_at = {room.name: before.get(room.name, soon) for room in rooms}
        for room in (room.name for room in rooms):
            if free > 0 and now >= self._look_at[room]:
                self._look_at[room] = now + COMING_SECONDS
                if await self._call_agent(api, room):
                    self._look_at[room] = now + CALLED_SECONDS
                    free -= 1

    async def _call_agent(self, api: lk.LiveKitAPI, room: str) -> bool:
        """Have an agent dispatched to *room*, if a caller is alone there who called us; return whether one was."""
        there = (await api.room.list_participants(lk.ListParticipantsRequest(room=room))).participants
        if not there or any(who.kind == lk.ParticipantInfo.Kind.AGENT for who in there):
            return False
        dispatches = await api.agent_dispatch.list_dispatch(room)
        jobs = [len(dispatch.state.jobs) for dispatch in dispatches if dispatch.agent_name == self._agent_name]
        if sum(jobs) >= DISPATCHES:
            await self._livekit.delete_room(room)
        elif jobs:
            again = AGAIN if any(jobs) else ""
            request = lk.CreateAgentDispatchRequest(agent_name=self._agent_name, room=room, metadata=again)
            await api.agent_dispatch.create_dispatch(request)
            return True
        return False
