"""
Conversations with the agent over a real livekit-server: spoken words in, spoken words out.

The caller's voice is the offline voice, its ears are Whisper's; what is asserted is what went over the wire.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import caller_of, plain
from livekit import rtc
from livekit.agents import UserStateChangedEvent
from livekit.api import AccessToken, ListRoomsRequest, LiveKitAPI, RoomAgentDispatch, RoomConfiguration, VideoGrants

from faqlab.dialogue import Dialogue
from faqlab.voice import agent, answers, listening, offline
from faqlab.voice.agent import Assistant
from faqlab.voice.caller import Caller
from faqlab.voice.calls import STAGES, CallLog
from faqlab.voice.demo import LiveDemo
from faqlab.voice.ears import SAMPLE_RATE, Ears
from faqlab.voice.sfu import LiveKit
from faqlab.voice.speech import Voice
from faqlab.voice.worker import Worker

PAY, RETURN, PARCEL = "How can I pay?", "Can I return shoes?", "Where is my parcel?"


@contextmanager
def working(livekit: LiveKit, assistant: Assistant) -> Iterator[Callable[..., Caller]]:
    """A worker of its own; yields what makes a caller to a room of that name, of another identity if need be."""
    loaded: Future[Assistant] = Future()
    loaded.set_result(assistant)
    worker = Worker(livekit, loaded, "tested")
    worker.start()

    def caller(room: str, identity: str = "caller") -> Caller:
        token = AccessToken(livekit.api_key, livekit.api_secret).with_identity(identity)
        token = token.with_grants(VideoGrants(room_join=True, room=room, can_publish_data=False))
        token = token.with_room_config(RoomConfiguration(agents=[RoomAgentDispatch(agent_name="tested")]))
        return Caller(livekit.url, token.to_jwt())

    try:
        yield caller
    finally:
        worker.stop()


@pytest.fixture
def assistant(demo: LiveDemo) -> Assistant:
    return demo._assistant.result()


async def rooms(livekit: LiveKit) -> list[str]:
    async with LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as api:
        return [room.name for room in (await api.room.list_rooms(ListRoomsRequest())).rooms]


async def test_a_question_asked_aloud_is_answered_aloud_from_the_faq(demo: LiveDemo) -> None:
    async with caller_of(demo) as caller:
        greeting = await caller.wait_for_greeting()
        assert plain(greeting.answer_audio_text) == plain(agent.GREETING)

        heard = await caller.ask(PAY)
        assert plain(heard.heard_as) == plain(PAY)
        assert "by card or by invoice" in plain(heard.answer_audio_text)
        assert plain(heard.answer_text) in plain("You can pay by card, or by invoice.")
        [lookup] = heard.lookups
        assert (lookup["outcome"], lookup["hits"][0]["id"], len(lookup["hits"])) == ("answer", "pay", 3)
        assert lookup["hits"][0]["squared_l2"] < lookup["squared_l2_threshold"] == pytest.approx(1.1)
        assert heard.end_of_speech_to_first_audio_s is not None
        assert heard.end_of_speech_to_first_audio_s < 2.0

        unknown = await caller.ask("Who won the chess tournament in nineteen eighty?")
        assert [lookup["outcome"] for lookup in unknown.lookups] == ["decline"]
        assert "i don t know that" in plain(unknown.answer_audio_text)

        thanks = await caller.ask("Thank you very much!")
        assert (thanks.lookups, bool(thanks.answer_audio_text)) == ((), True)

    record = next(r for r in demo.calls.records if r.id == lookup["id"])
    assert set(record.milliseconds) == set(STAGES)
    assert all(0 <= ms < 2000 for ms in record.milliseconds.values())
    row = demo.calls.frame().set_index("room").loc[record.room].iloc[0]
    assert (row["outcome"], row["retrieved"][0]) == ("answer", "pay")


async def test_who_is_asked_back_chooses_and_is_answered(livekit_server: LiveKit, assistant: Assistant) -> None:
    unsure = replace(assistant, retriever=assistant.retriever.with_config(answer_from=1.0))
    with working(livekit_server, unsure) as caller_to:
        async with caller_to("unsure") as caller:
            await caller.wait_for_greeting()
            back = await caller.ask(PAY)
            [lookup] = back.lookups
            assert lookup["outcome"] == "ask_back"
            assert lookup["choices"][0] == PAY
            assert "do you mean how can i pay" in plain(back.answer_audio_text)
            chosen = await caller.ask("The first one, please.")
            assert [(of["outcome"], of["hits"][0]["id"]) for of in chosen.lookups] == [("answer", "pay")]
            assert "by card" in plain(chosen.answer_audio_text)


async def test_two_callers_at_once_have_rooms_and_answers_of_their_own(demo: LiveDemo) -> None:
    async def call(question: str) -> tuple[str, str, str]:
        async with caller_of(demo) as caller:
            await caller.wait_for_greeting()
            heard = await caller.ask(question)
            return caller.room.name, heard.lookups[0]["hits"][0]["id"], plain(heard.answer_audio_text)

    paid, returned = await asyncio.gather(call(PAY), call(RETURN))
    assert paid[0] != returned[0]
    assert (paid[1], returned[1]) == ("pay", "shoes")
    assert "card" in paid[2]
    assert "days" in returned[2]


async def test_four_callers_at_once_are_each_answered(demo: LiveDemo) -> None:
    """More than there are cores: with the wrong chunks they kept each other from being heard."""
    table = await asyncio.to_thread(demo.call, [PAY, RETURN] * 2, at_once=4)
    assert table["retrieved"].str[0].tolist() == ["pay", "shoes"] * 2
    assert (table["first_sound_ms"] < 5000).all()


async def test_who_interrupts_is_let_in_and_answered(demo: LiveDemo) -> None:
    async with caller_of(demo) as caller:
        await caller.wait_for_greeting()
        heard = await caller.ask("How does the guarantee work?", interrupt=f"Excuse me, {PAY}", interrupt_after=1.5)
    assert heard.yielded_s is not None
    assert heard.yielded_s < 1.0
    assert [lookup["hits"][0]["id"] for lookup in heard.lookups] == ["work", "pay"]
    assert "by card" in plain(heard.answer_audio_text)
    assert "within ten days" not in plain(heard.answer_audio_text)


async def test_a_question_with_a_pause_in_it_is_heard_as_one(demo: LiveDemo) -> None:
    async with caller_of(demo) as caller:
        await caller.wait_for_greeting()
        heard = await caller.ask("Can you tell me whether I can return shoes that do not fit me?", pause=1.0)
    assert plain(heard.lookups[-1]["query"]) == plain("Can you tell me whether I can return shoes that do not fit me?")
    assert heard.lookups[-1]["hits"][0]["id"] == "shoes"
    assert "thirty days" in plain(heard.answer_audio_text).replace("30", "thirty")


async def test_who_never_stops_is_answered_all_the_same(demo: LiveDemo, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a radio; with a fifth of the patience."""
    monkeypatch.setattr(listening, "_LONGEST", 5 * SAMPLE_RATE)
    monkeypatch.setattr(offline, "ENDLESS", {"max_words": 8})
    async with caller_of(demo) as caller:
        await caller.wait_for_greeting()
        question = PAY.lower().strip("?")
        heard = await caller.ask(" and ".join([f"I would like to know {question}"] * 8))
    assert heard.cut_in
    assert heard.lookups[0]["hits"][0]["id"] == "pay"
    # Not as heard: of one sentence three times over Whisper believes nothing.
    assert "you can pay by card or by invoice" in plain(heard.answer_text)


async def test_a_long_question_that_has_ended_is_answered_once(demo: LiveDemo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than what is answered over a sound that goes on; with a fifth of the patience."""
    monkeypatch.setattr(offline, "ENDLESS", {"max_words": 8})
    async with caller_of(demo) as caller:
        await caller.wait_for_greeting()
        heard = await caller.ask("Can you please tell me whether I can return shoes that do not fit me?")
        after = await caller.listen(3)
    assert [lookup["hits"][0]["id"] for lookup in (*heard.lookups, *after.lookups)] == ["shoes"]
    assert not heard.cut_in
    assert plain(f"{heard.answer_text} {after.answer_text}").count("thirty days") == 1


async def test_two_look_ups_at_once_have_records_of_their_own(assistant: Assistant) -> None:
    """As of a model that calls its tool twice in one turn."""
    sent: list[str] = []

    async def send_text(text: str, topic: str) -> None:
        sent.append(json.loads(text)["query"])

    call = call_without_a_room(assistant, send_text)
    results = await asyncio.gather(call.lookup(PAY), call.lookup(RETURN))
    call._finish_record()
    assert [json.loads(result)["answers"][0]["question"] for result in results] == [PAY, RETURN]
    assert [record.query for record in call._assistant.calls.records] == sent == [PAY, RETURN]


async def test_the_times_of_a_look_up_are_not_of_an_end_of_speech_before_the_last(assistant: Assistant) -> None:
    async def send_text(text: str, topic: str) -> None:
        """Take it."""

    call = call_without_a_room(assistant, send_text)
    for old, new in (("listening", "speaking"), ("speaking", "listening")):
        call._on_user_state(UserStateChangedEvent(old_state=old, new_state=new))  # type: ignore[arg-type]
    await call.lookup(PAY)
    call._on_user_state(UserStateChangedEvent(old_state="listening", new_state="speaking"))
    await call.lookup(RETURN)
    call._finish_record()
    ended, goes_on = call._assistant.calls.records
    assert {"transcript", "turn"} <= set(ended.milliseconds)
    assert not {"transcript", "turn"} & set(goes_on.milliseconds)


def call_without_a_room(assistant: Assistant, send_text: Callable[..., Any]) -> agent.Call:
    """A call for its look-ups alone, with a log of its own."""
    room = SimpleNamespace(name="nowhere", local_participant=SimpleNamespace(send_text=send_text))
    job: Any = SimpleNamespace(room=room, job=SimpleNamespace(room=room))
    livekit = LiveKit("ws://127.0.0.1:9", "key", "secret", local=True)
    return agent.Call(replace(assistant, calls=CallLog()), job, livekit)


async def test_who_says_nothing_is_asked_twice_and_then_let_go(livekit_server: LiveKit, assistant: Assistant) -> None:
    with working(livekit_server, replace(assistant, silence_seconds=1.5)) as caller_to:
        async with caller_to("silent") as caller:
            greeting = await caller.wait_for_greeting()
            asked = [await caller.wait_for_greeting() for _ in range(3)]
            assert plain(greeting.answer_text) == plain(agent.GREETING)
            assert [plain(a.answer_text) for a in asked] == [plain(s) for s in (*agent.STILL_THERE, agent.FAREWELL)]
            await until(lambda: not caller.room.isconnected())
    assert "silent" not in await rooms(livekit_server)


async def test_who_was_silent_and_then_asks_is_answered(livekit_server: LiveKit, assistant: Assistant) -> None:
    with working(livekit_server, replace(assistant, silence_seconds=2.0)) as caller_to:
        async with caller_to("shy") as caller:
            await caller.wait_for_greeting()
            assert plain((await caller.wait_for_greeting()).answer_text) == plain(agent.STILL_THERE[0])
            heard = await caller.ask(PARCEL)
            assert heard.lookups[0]["hits"][0]["id"] == "parcel"


async def test_when_the_caller_leaves_in_mid_answer_the_call_is_soon_over(
    demo: LiveDemo, assistant: Assistant, livekit_server: LiveKit
) -> None:
    with working(livekit_server, assistant) as caller_to:
        async with caller_to("leaver") as caller:
            await caller.wait_for_greeting()
            assert "leaver" in await rooms(livekit_server)
            await caller.ask("How does the guarantee work?", hang_up_after=1.0)
            left = time.monotonic()
        while "leaver" in await rooms(livekit_server):
            assert time.monotonic() < left + 4
            await asyncio.sleep(0.1)


async def test_who_is_cut_off_and_comes_back_goes_on_with_the_call(
    livekit_server: LiveKit, assistant: Assistant
) -> None:
    with working(livekit_server, assistant) as caller_to:
        async with caller_to("cut-off") as caller:
            await caller.wait_for_greeting()
            await caller.room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
            await caller.listen(agent.HUNG_UP_SECONDS + 1)
            assert (await caller.ask(PAY)).lookups[0]["hits"][0]["id"] == "pay"


async def test_who_is_cut_off_and_stays_away_is_waited_for_in_vain(
    livekit_server: LiveKit, assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_HUNG_UP", frozenset())  # a lost connection is one that nobody has closed
    monkeypatch.setattr(agent, "LOST_SECONDS", 5.0)
    with working(livekit_server, assistant) as caller_to:
        async with caller_to("lost") as caller:
            await caller.wait_for_greeting()
        left = time.monotonic()
        while "lost" in await rooms(livekit_server):
            assert time.monotonic() < left + 8
            await asyncio.sleep(0.1)
        assert time.monotonic() > left + 4


async def test_neither_a_camera_nor_a_guest_who_leaves_means_anything(
    livekit_server: LiveKit, assistant: Assistant
) -> None:
    with working(livekit_server, assistant) as caller_to:
        async with caller_to("shared") as caller:
            await caller.wait_for_greeting()
            camera = rtc.LocalVideoTrack.create_video_track("camera", rtc.VideoSource(64, 64))
            published = await caller.room.local_participant.publish_track(camera)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(published.wait_for_subscription(), 1.0)
            async with caller_to("shared", "guest") as guest:
                await guest.listen(1)
            await caller.listen(agent.HUNG_UP_SECONDS + 1)
            assert (await caller.ask(PAY)).lookups[0]["hits"][0]["id"] == "pay"


async def test_a_failure_of_the_ears_the_model_or_the_tool_is_owned_up_to_and_the_call_goes_on(
    demo: LiveDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken on purpose")

    async with caller_of(demo, hearing=Ears()) as caller:
        await caller.wait_for_greeting()
        with monkeypatch.context() as patch:
            patch.setattr(Ears.shared(), "hear", fail)
            assert plain((await caller.ask(PAY)).answer_text) == plain(answers.SORRY)
        with monkeypatch.context() as patch:
            patch.setattr(answers._Step, "_run", fail)
            assert plain((await caller.ask(PAY)).answer_text) == plain(answers.SORRY)
        assert "by card" in plain((await caller.ask(PAY)).answer_audio_text)
        with monkeypatch.context() as patch:
            patch.setattr(Dialogue, "ask", fail)
            failed = await caller.ask(PAY)
            assert (plain(failed.answer_text), failed.lookups) == (plain(answers.SORRY), ())
        assert [record.outcome for record in demo.calls.records][-2:] == ["answer", "failed"]
        assert "by card" in plain((await caller.ask(PAY)).answer_audio_text)


async def test_a_greeting_or_a_sentence_that_cannot_be_said_is_made_up_for(
    livekit_server: LiveKit, assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    unspeakable, speak = {agent.GREETING, *Voice.shared().sentences(agent.GREETING)}, Voice.speak

    def fail(self: Voice, sentence: str, speed: float = 1.0) -> np.ndarray:
        if sentence in unspeakable or "faults" in sentence:
            raise RuntimeError("broken on purpose")
        return speak(self, sentence, speed)

    monkeypatch.setattr(Voice, "speak", fail)
    with working(livekit_server, assistant) as caller_to:
        async with caller_to("half") as caller:
            assert plain((await caller.wait_for_greeting()).answer_audio_text) == plain(answers.SORRY)
            heard = plain((await caller.ask("How does the guarantee work?")).answer_audio_text)
            assert heard.startswith("everything that we sell")
            assert heard.endswith(plain(answers.SORRY))


@pytest.mark.parametrize("broken", ["voice", "look-up"])
async def test_who_asks_in_vain_is_told_so_twice_and_then_let_go(
    livekit_server: LiveKit, assistant: Assistant, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Although what was spoken ahead, the excuse above all, is still heard each time."""
    with working(livekit_server, assistant) as caller_to:
        async with caller_to("in-vain") as caller:
            await caller.wait_for_greeting()
            voice, speak = Voice.shared(), Voice.speak
            spoken = {PAY, *voice.sentences(f"{answers.SORRY} {agent.GIVE_UP}")}
            for sentence in spoken:
                voice.speak(sentence)

            def fail(self: Voice, sentence: str, speed: float = 1.0) -> np.ndarray:
                if sentence in spoken:
                    return speak(self, sentence, speed)
                raise RuntimeError("broken on purpose")

            if broken == "voice":
                monkeypatch.setattr(Voice, "speak", fail)
            else:
                monkeypatch.setattr(Dialogue, "ask", fail)
            said = [plain((await caller.ask(PAY)).answer_audio_text) for _ in range(3)]
            assert said == [plain(answers.SORRY), plain(answers.SORRY), plain(agent.GIVE_UP)]
            await until(lambda: not caller.room.isconnected())


async def test_a_voice_that_keeps_failing_ends_the_call(
    livekit_server: LiveKit, assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(livekit_server, assistant) as caller_to:
        async with caller_to("mute") as caller:
            await caller.wait_for_greeting()

            question = Voice.shared().speak(PAY)

            def fail(self: Voice, sentence: str, speed: float = 1.0) -> np.ndarray:
                if sentence == PAY:
                    return question
                raise RuntimeError("broken on purpose")

            monkeypatch.setattr(Voice, "speak", fail)
            asking = asyncio.create_task(caller.ask(PAY))
            await until(lambda: not caller.room.isconnected(), 20)
            assert (await asking).answer_audio_text == ""


async def until(fact: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.05)
