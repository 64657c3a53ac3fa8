"""The agent's worker: registers with a LiveKit server and answers the calls that it's given."""

from __future__ import annotations

import asyncio
import os
from functools import partial

from livekit.agents import NOT_GIVEN, AgentServer, JobExecutorType

from faqlab.errors import FaqlabError
from faqlab.voice.call import Assistant
from faqlab.voice.livekit_server import LiveKit
from faqlab.voice.services import BackgroundService

RECONNECTS = 16
"""Attempts to reach a lost LiveKit server before the worker gives up, after about two minutes."""

CALLS_AT_EASE = os.cpu_count() or 1
"""With this many calls, most new ones go to an idle worker if there is one."""

HIGHEST_LOAD = 0.6
"""Below 0.7: from there on LiveKit's server gives a worker no more calls, and new callers would get no answer."""


class Worker(BackgroundService):
    """Answers the calls of one LiveKit server, each on a thread; LiveKit dispatches it to a room by *agent_name*."""

    def __init__(self, livekit: LiveKit, assistant: Assistant, agent_name: str) -> None:
        super().__init__(f"The agent at {livekit.url}")
        self._livekit, self._assistant, self._agent_name = livekit, assistant, agent_name

    async def _serve(self) -> None:
        if not await self._livekit.answers():  # the worker would keep trying for two minutes
            raise FaqlabError(
                f"Can't connect to the LiveKit server at {self._livekit.url}; check that it is running, "
                "and that LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET match."
            )
        server = AgentServer(
            job_executor_type=JobExecutorType.THREAD,
            ws_url=self._livekit.url,
            api_key=self._livekit.api_key,
            api_secret=self._livekit.api_secret,
            host="127.0.0.1",
            port=0,
            num_idle_processes=1,
            max_retry=RECONNECTS,
            load_fnc=_load,
            http_proxy=None if self._livekit.local else NOT_GIVEN,
        )
        server.rtc_session(partial(self._assistant.converse, livekit=self._livekit), agent_name=self._agent_name)
        server.on("worker_registered", self._is_ready)
        # livekit-agents 1.8 writes these before `run` waits for the first time, and later children would inherit them.
        before = {name: os.environ.get(name) for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")}
        running = asyncio.create_task(server.run(devmode=True))
        await asyncio.sleep(0)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        await self._until_stopped(running)
        await server.aclose()
        await running


def _load(server: AgentServer) -> float:
    """Return the load by which LiveKit chooses a worker: calls, not CPU, so that a busy notebook gets its calls."""
    calls = len(server.active_jobs)
    return HIGHEST_LOAD * calls / (calls + CALLS_AT_EASE)
