"""
Many callers in one process, started by `benchmarks/flood.py`: each joins a call, stays and leaves.

They share the processor with the agent, so they send and play no sound, and have a low priority.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from livekit import rtc

from benchmarks.proxy import joining_directly

CONNECT_S = 15.0
"""The SDK's own 5 s are short for a crowd on a busy machine."""


async def main(page: str, callers: int, stay_s: float) -> None:
    """Wait for a line on stdin, join *callers* calls at once, leave them after *stay_s* s, and print what happened."""
    if not sys.stdin.readline():  # the benchmark has ended
        return
    os.nice(10)  # otherwise they would take from the agent what in real calls is the callers' own processor
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # Linux may share the processor between sessions
            Path("/proc/self/autogroup").write_text("10")
    used, leaving = time.process_time(), time.monotonic() + stay_s
    timeout = aiohttp.ClientTimeout(total=stay_s)
    async with aiohttp.ClientSession(page, timeout=timeout) as http, asyncio.TaskGroup() as group:
        calls = [group.create_task(hold_call(http, leaving)) for _ in range(callers)]
    print(json.dumps({"calls": [call.result() for call in calls], "cpu_s": time.process_time() - used}), flush=True)
    await asyncio.sleep(0.5)  # until the server knows that they have left
    os._exit(0)  # at an ordinary exit, the SDK's threads sometimes abort the process


async def hold_call(http: aiohttp.ClientSession, leaving: float) -> dict[str, Any]:
    """
    Join a call with a microphone, and leave it at *leaving*, a time of `time.monotonic`.

    Returns:
        `token`: whether the page gave one; `joined`: whether the call could be joined; `agent`: whether an agent was
        there at the end; `greeted`: whether one spoke.
    """
    call = dict.fromkeys(("token", "joined", "agent", "greeted"), False)
    try:
        async with http.get("getToken") as response:
            call["token"] = response.status == 200
            token = await response.json() if call["token"] else {}
    except (aiohttp.ClientError, TimeoutError):
        pass
    if not call["token"]:
        return call
    room = rtc.Room()

    @room.on("participant_attributes_changed")
    def _(changed: dict[str, str], participant: rtc.Participant) -> None:
        call["greeted"] |= changed.get("lk.agent.state") == "speaking"

    try:
        with joining_directly(token["url"]):
            await room.connect(token["url"], token["token"], rtc.RoomOptions(connect_timeout=CONNECT_S))
        source = rtc.AudioSource(48_000, 1, queue_size_ms=0)  # with a queue, the SDK would encode silence
        microphone = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(microphone, options)
        call["joined"] = True
    except (rtc.ConnectError, rtc.participant.PublishTrackError) as error:
        print(f"One of the crowd couldn't join: {error}", file=sys.stderr)
        return call
    await asyncio.sleep(leaving - time.monotonic())
    call["agent"] = any(
        of.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT for of in room.remote_participants.values()
    )
    call["joined"] = room.isconnected()
    await room.disconnect()
    return call


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
