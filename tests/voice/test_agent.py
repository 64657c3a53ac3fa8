"""Conversations with the agent by text: what it says and looks up, turn by turn."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from livekit.agents import (
    Agent,
    AgentSession,
    LanguageCode,
    RunContext,
    StopResponse,
    UserTurnExceededEvent,
    function_tool,
    llm,
    stt,
)
from livekit.agents.voice.run_result import RunResult

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.lookup_log import LookupLog
from faqlab.retriever import Retriever
from faqlab.small_talk import SmallTalk
from faqlab.voice.agent import FaqAgent, Lookups, question_in
from faqlab.voice.chat import text_session

PAY, PAY_ANSWER = "How can I pay?", "You can pay by card, or by invoice."
SHOES, SHOES_ANSWER = "Can I return shoes?", "Yes, you can return shoes within thirty days."
UNCLEAR = "I want to return something"
UNKNOWN = "Who won the chess tournament?"


@pytest.fixture
def conversation(short_retriever: Retriever, small_talk: SmallTalk) -> Conversation:
    return Conversation(short_retriever, small_talk)


@pytest.fixture
async def session(conversation: Conversation) -> AsyncIterator[AgentSession[Lookups]]:
    async with await text_session(conversation) as session:
        yield session


def said(result: RunResult[Any]) -> str:
    """What the assistant said in a turn; it's all one message."""
    [message] = [event.item for event in result.events if event.type == "message"]
    return message.text_content or ""


def tool_result(result: RunResult[Any]) -> dict[str, Any]:
    [output] = [event.item.output for event in result.events if event.type == "function_call_output"]
    found: dict[str, Any] = json.loads(output)
    return found


async def test_the_agent_greets(session: AgentSession[Lookups]) -> None:
    assert [message.text_content for message in session.history.messages()] == [replies.GREETING]


async def test_a_question_is_looked_up_as_it_was_asked_and_answered(session: AgentSession[Lookups]) -> None:
    result = await session.run(user_input=PAY)
    result.expect.next_event().is_function_call(name="lookup_company_info", arguments={"query": PAY})
    result.expect.next_event().is_function_call_output(is_error=False)
    result.expect.next_event().is_message(role="assistant")
    result.expect.no_more_events()
    assert said(result) == PAY_ANSWER


async def test_the_tool_returns_the_best_entries_whatever_the_outcome(session: AgentSession[Lookups]) -> None:
    found = [tool_result(await session.run(user_input=query)) for query in (PAY, UNKNOWN, UNCLEAR)]
    assert [result["status"] for result in found] == ["answer", "decline", "clarify"]
    assert [len(result["answers"]) for result in found] == [3, 3, 3]
    assert found[0]["answers"][0] == {"question": PAY, "answer": PAY_ANSWER}
    assert found[0]["say"] == "", "a language model words the answer itself"


async def test_the_caller_picks_one_of_the_entries_that_a_clarifying_question_offers(
    session: AgentSession[Lookups],
) -> None:
    clarified = await session.run(user_input=UNCLEAR)
    choices = tool_result(clarified)["choices"]
    assert SHOES in choices
    assert said(clarified) == replies.clarifying_question(choices)
    assert said(await session.run(user_input="The shoes, please.")) == SHOES_ANSWER


async def test_what_the_faq_does_not_cover_is_declined(session: AgentSession[Lookups]) -> None:
    assert said(await session.run(user_input=UNKNOWN)) == "Sorry, our FAQ doesn't cover that."


async def test_small_talk_needs_no_look_up(session: AgentSession[Lookups]) -> None:
    result = await session.run(user_input="Thank you!")
    assert said(result) == replies.small_talk("thanks")
    assert len(result.events) == 1


async def test_the_last_reply_is_repeated_in_full(session: AgentSession[Lookups]) -> None:
    await session.run(user_input=PAY)
    for _ in range(2):
        assert said(await session.run(user_input="Can you repeat that, please?")) == PAY_ANSWER


async def test_a_look_up_that_fails_is_apologised_for_and_the_next_one_is_answered(
    session: AgentSession[Lookups], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(Conversation, "ask", fail)
        assert [said(await session.run(user_input=PAY)) for _ in range(2)] == [replies.SORRY] * 2
    assert said(await session.run(user_input=PAY)) == PAY_ANSWER
    assert "broken on purpose" in caplog.text


@pytest.mark.parametrize(
    ("user_state", "transcript", "said_last"),
    [
        ("speaking", "And then we went to the shop and", replies.TOO_LONG),
        ("speaking", "…", replies.SAY_AGAIN),
        ("listening", PAY, replies.GREETING),
    ],
)
async def test_who_never_pauses_is_asked_for_one_question(
    session: AgentSession[Lookups],
    monkeypatch: pytest.MonkeyPatch,
    user_state: str,
    transcript: str,
    said_last: str,
) -> None:
    """Such as a radio, whose words aren't looked up; a caller who has just finished is answered by the turn's end."""
    monkeypatch.setattr("faqlab.voice.agent.BETWEEN_WORDS_SECONDS", 0)
    monkeypatch.setattr(AgentSession, "user_state", user_state)
    endless = UserTurnExceededEvent(
        transcript=transcript, accumulated_transcript=transcript, accumulated_word_count=99, duration=80
    )
    await session.current_agent.on_user_turn_exceeded(endless)
    assert session.history.messages()[-1].text_content == said_last


STORY = """
Hi. I bought a coffee machine from you in the spring for our kitchen at work, and everybody was so happy with it, you
know? Then in June the lid broke, and somebody sent the lid back to you, and we never got anything, not a word. I know
that it's a long time ago, and that the person who did it has left since. What I want to know is this. How can I pay?
"""


async def test_of_a_long_story_the_last_question_is_looked_up(session: AgentSession[Lookups]) -> None:
    assert said(await session.run(user_input=STORY)) == PAY_ANSWER
    assert question_in(STORY) == PAY
    assert question_in("Oh well. How can I pay? Right?") == "Oh well. How can I pay? Right?", "it's short"
    assert question_in(no_question := "and so on " * 20) == no_question


class Speech:
    """A reply that is being spoken, as livekit's handle of it."""

    def __init__(self, done: bool = False, interrupted: bool = False, says: str = "") -> None:
        self.over, self.interrupted, self.allow_interruptions = done, interrupted, True
        self.chat_items = [llm.ChatMessage(role="assistant", content=[says])]
        self.callbacks: list[Callable[[Any], None]] = []

    def done(self) -> bool:
        return self.over

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callbacks.append(callback)


Kind = stt.SpeechEventType


def transcript(kind: Kind, text: str, confidence: float = 0.9) -> stt.SpeechEvent:
    return stt.SpeechEvent(kind, alternatives=[stt.SpeechData(LanguageCode("en"), text, confidence=confidence)])


Transcribe = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def transcribe(session: AgentSession[Lookups], monkeypatch: pytest.MonkeyPatch) -> Transcribe:
    """Return what the agent passes on of some words that are spoken over a reply."""

    async def transcribe(*texts: str, speech: Any, confidence: float = 0.9) -> list[str]:
        async def events(*_: object) -> AsyncIterator[stt.SpeechEvent]:
            for text in texts:
                yield stt.SpeechEvent(Kind.START_OF_SPEECH)
                for kind in (Kind.PREFLIGHT_TRANSCRIPT, Kind.FINAL_TRANSCRIPT):
                    yield transcript(kind, text, confidence)
                yield stt.SpeechEvent(Kind.END_OF_SPEECH)

        monkeypatch.setattr(Agent.default, "stt_node", events)
        monkeypatch.setattr(AgentSession, "current_speech", speech)
        agent: Any = session.current_agent
        passed = [event async for event in agent.stt_node(None, None)]
        assert [event.type for event in passed].count(Kind.END_OF_SPEECH) == len(texts)
        return [event.alternatives[0].text for event in passed if event.type is Kind.FINAL_TRANSCRIPT]

    return transcribe


BACKCHANNELS = "Okay.|Yeah.|Mm-hmm.|Right.|Uh-huh.|I see.|Yeah, yeah.|Oh, okay.|Got it.|Hmm.|Really?|Thanks.|…"
MISHEARD = "Mama? Mama?|Gotcha."
STOPPING = "Stop.|No.|Wait a minute.|Sorry, what?|That's wrong.|How much is it?|Okay, but can I pay by card?|Not that."
TOPICS = "Refund.|Gift cards?|Klarna?|New question.|Next question.|Nonsense.|Who?|H&M?"


async def test_words_over_a_reply_end_it_unless_they_only_show_that_somebody_listens(transcribe: Transcribe) -> None:
    assert await transcribe(*f"{BACKCHANNELS}|{MISHEARD}".split("|"), speech=Speech()) == []
    stopping = f"{STOPPING}|{TOPICS}".split("|")
    assert await transcribe(*stopping, speech=Speech()) == stopping
    assert await transcribe("Stop.", PAY, speech=Speech(), confidence=0.1) == ["Stop."], "not a television"


@pytest.mark.parametrize("speech", [None, Speech(done=True), Speech(interrupted=True)])
async def test_words_after_a_reply_are_a_turn_whatever_they_are(transcribe: Transcribe, speech: Any) -> None:
    assert await transcribe("Okay.", "Thanks.", speech=speech) == ["Okay.", "Thanks."]


async def test_a_backchannel_soon_after_the_question_is_one_too(transcribe: Transcribe) -> None:
    """Who goes on within a moment is transcribed together with what was said before."""
    assert await transcribe(PAY, f"{PAY} Okay.", f"{PAY} And abroad?", speech=Speech()) == [PAY, f"{PAY} And abroad?"]


async def test_an_answer_that_a_backchannel_has_paused_resumes(
    session: AgentSession[Lookups], transcribe: Transcribe
) -> None:
    agent: Any = session.current_agent
    resumed: list[bool] = []

    class Context:
        def __init__(self) -> None:
            self.speech_handle, self.userdata = Speech(), session.userdata

        def disallow_interruptions(self) -> None:
            resumed.append(True)
            self.speech_handle.allow_interruptions = False

    answer, other = Context(), Speech()
    await agent.lookup_company_info(answer, PAY)
    await transcribe("Okay.", speech=other)
    assert not resumed
    await transcribe("How much?", speech=answer.speech_handle)
    assert not resumed
    await transcribe("Okay.", speech=answer.speech_handle)
    assert resumed
    assert answer.speech_handle.allow_interruptions


async def test_what_is_probably_another_language_is_not_looked_up(session: AgentSession[Lookups]) -> None:
    agent, message = session.current_agent, llm.ChatMessage(role="user", content=["Where is my parcel?"])
    await agent.on_user_turn_completed(agent.chat_ctx, message)
    message.transcript_confidence = 0.9
    await agent.on_user_turn_completed(agent.chat_ctx, message)
    message.transcript_confidence = 0.1
    await agent.on_user_turn_completed(agent.chat_ctx, message.model_copy(update={"content": ["Yes."]}))
    french = message.model_copy(update={"content": ["Parlez-vous français ?"]})
    assert session.userdata.conversation.classify("Parlez-vous français ?") == "language"
    said = (message, replies.SAY_AGAIN), (french, replies.ENGLISH_ONLY), (message, replies.SAY_AGAIN)
    for unsure, sentence in said:
        with pytest.raises(StopResponse):
            await agent.on_user_turn_completed(agent.chat_ctx, unsure)
        await session.wait_for_idle()
        assert session.history.messages()[-1].text_content == sentence


async def test_an_unsure_transcript_that_names_a_choice_is_taken(session: AgentSession[Lookups]) -> None:
    agent, clarified = session.current_agent, session.userdata.conversation.ask(UNCLEAR)
    assert clarified.choices
    choice = llm.ChatMessage(role="user", content=[clarified.choices[1]])
    choice.transcript_confidence = 0.1
    await agent.on_user_turn_completed(agent.chat_ctx, choice)


@pytest.mark.parametrize(
    ("says", "words", "agrees"),
    [
        (f"One. {replies.GO_ON}", "Yes, please.", True),
        ("One.", "Yes, please.", False),
        (f"One. {replies.GO_ON}", "And now the weather for tomorrow.", False),
    ],
)
async def test_a_yes_just_before_the_question_whether_to_go_on_answers_it(
    transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch, says: str, words: str, agrees: bool
) -> None:
    """Unsure words, as of a television, don't."""
    replied: list[str] = []
    monkeypatch.setattr(AgentSession, "generate_reply", lambda _, user_input: replied.append(user_input))
    speech = Speech(says=says)
    assert await transcribe(words, speech=speech, confidence=0.1) == []
    for callback in speech.callbacks:
        callback(speech)
    assert replied == ([words] if agrees else [])


async def test_a_reply_that_is_interrupted_meanwhile_does_not_end_the_transcription(
    session: AgentSession[Lookups], transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = Speech()
    monkeypatch.setattr(FaqAgent, "_is_backchannel", lambda *_: setattr(speech, "interrupted", True) or True)
    assert await transcribe("Okay.", speech=speech) == ["Okay."]


class AgentWithHours(FaqAgent):
    """The agent with a second tool, which is all that it takes."""

    @function_tool
    async def opening_hours(self, context: RunContext[Lookups]) -> str:
        """Say at which hours the shop is open."""
        return "We're open from nine to five."


async def test_a_second_tool_is_called_when_its_description_is_nearer_than_the_faq(conversation: Conversation) -> None:
    async with await text_session(conversation, AgentWithHours()) as session:
        for question in ("When do you open?", "What time do you close?"):
            result = await session.run(user_input=question)
            result.expect.next_event().is_function_call(name="opening_hours", arguments={})
            assert said(result) == "We're open from nine to five."
        for question in (PAY, SHOES, UNKNOWN, UNCLEAR, "The shoes, please."):
            result = await session.run(user_input=question)
            result.expect.next_event().is_function_call(name="lookup_company_info", arguments={"query": question})


@pytest.mark.parametrize("looked_up", [False, True])
async def test_an_agent_that_takes_over_a_call_answers_what_was_left_open(
    conversation: Conversation, looked_up: bool
) -> None:
    """Also if it was looked up, but not spoken any more."""
    history = llm.ChatContext.empty()
    history.add_message(role="user", content=PAY)
    if looked_up:
        name, output = "lookup_company_info", json.dumps({"status": "answer", "say": PAY_ANSWER, "answers": []})
        history.insert(llm.FunctionCall(call_id="c", name=name, arguments="{}"))
        history.insert(llm.FunctionCallOutput(call_id="c", name=name, output=output, is_error=False))
    async with await text_session(conversation, FaqAgent(unanswered=True, chat_ctx=history)) as session:
        await session.wait_for_idle()
        spoken = [message.text_content for message in session.history.messages() if message.role == "assistant"]
        assert spoken == [replies.GREETING, PAY_ANSWER]


async def test_two_look_ups_at_once_are_made_in_turn_and_have_a_record_each(conversation: Conversation) -> None:
    """A model may call its tool twice in one turn."""
    published: list[dict[str, Any]] = []

    async def publish(message: dict[str, Any]) -> None:
        published.append(message)

    lookups = Lookups(conversation, LookupLog(), "a-room", publish)
    results = await asyncio.gather(lookups.look_up(PAY), lookups.look_up(SHOES))
    lookups.log_pending()
    assert [json.loads(result)["answers"][0]["question"] for result in results] == [PAY, SHOES]
    assert [record.message() for record in lookups.records.records] == published
    assert [(record.query, record.room) for record in lookups.records.records] == [(PAY, "a-room"), (SHOES, "a-room")]


async def test_the_stages_of_the_wait_are_recorded_where_they_are_known(conversation: Conversation) -> None:
    lookups = Lookups(conversation, LookupLog())
    lookups.speech_ended, lookups.transcribed = 1.0, 1.25
    await lookups.look_up(PAY)
    lookups.log_pending(speaking_since=10.0**10)
    lookups.speech_ended = None
    await lookups.look_up(SHOES)
    lookups.log_pending()
    spoken, typed = lookups.records.records
    assert spoken.milliseconds["transcript"] == 250
    assert set(spoken.milliseconds) == {"transcript", "turn", "embed", "search", "voice"}
    assert set(typed.milliseconds) == {"embed", "search"}


def test_an_agent_on_gemini_imports_no_speech_models_and_no_agent_imports_pandas_or_scipy() -> None:
    program = """
import sys
import faqlab.voice.call, faqlab.voice.chat
from faqlab.settings import Settings
from faqlab.voice.pipeline import choose_pipeline
assert not {"pandas", "scipy", "sklearn", "torch"} & set(sys.modules)
choose_pipeline(Settings(google_api_key="a-key")).prewarm(["Hello"])
assert not {"faster_whisper", "hibari", "pandas", "scipy", "sklearn", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=250)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
