"""What the offline language model does with each kind of turn; whole conversations are in test_agent.py."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from livekit.agents import function_tool, llm

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.retriever import Retriever
from faqlab.small_talk import SmallTalk
from faqlab.voice.offline_llm import OfflineLLM

PAY, PAY_ANSWER = "How can I pay?", "You can pay by card, or by invoice."


@function_tool
async def ask_the_books(words: str) -> str:
    """Look something up."""
    return words


@pytest.fixture(scope="module")
def conversation(short_retriever: Retriever, small_talk: SmallTalk) -> Conversation:
    return Conversation(short_retriever, small_talk)


async def step(offline: OfflineLLM, *turns: tuple[str, str], **options: Any) -> llm.CollectedResponse:
    """The next step after *turns*: (role, text), where "tool" is a tool's output and "cut" an interrupted message."""
    context = llm.ChatContext.empty()
    for role, text in turns:
        if role == "tool":
            context.items.append(llm.FunctionCall(call_id="c", name="ask_the_books", arguments="{}"))
            context.items.append(
                llm.FunctionCallOutput(call_id="c", name="ask_the_books", output=text, is_error=text == "error")
            )
        else:
            cut = role == "cut"
            context.add_message(role="assistant" if cut else role, content=text, interrupted=cut)  # type: ignore[arg-type]
    return await offline.chat(chat_ctx=context, **{"tools": [ask_the_books], **options}).collect()


async def test_the_only_tool_is_called_with_the_words_as_they_came(conversation: Conversation) -> None:
    [call] = (await step(OfflineLLM(conversation), ("user", "um, do you ship abroad"))).tool_calls
    assert (call.name, json.loads(call.arguments)) == ("ask_the_books", {"words": "um, do you ship abroad"})


@pytest.mark.parametrize(
    ("output", "spoken"),
    [
        ({"status": "answer", "say": "It takes 3 days.", "answers": [{"answer": "No."}]}, "It takes 3 days."),
        ({"status": "answer", "say": "", "answers": [{"answer": "Yes."}, {"answer": "No."}]}, "Yes."),
        ({"status": "clarify", "say": "Which one? One: X?", "answers": []}, "Which one? One: X?"),
        ("We're open from nine to five.", "We're open from nine to five."),
        ("5", "5"),
        ("error", replies.SORRY),
    ],
)
async def test_what_a_tool_returns_is_spoken(conversation: Conversation, output: object, spoken: str) -> None:
    text = output if isinstance(output, str) else json.dumps(output)
    answer = await step(OfflineLLM(conversation), ("user", "A question?"), ("tool", text))
    assert (answer.text, answer.tool_calls) == (spoken, [])


async def test_silence_and_turns_without_a_tool_are_asked_for_again(conversation: Conversation) -> None:
    offline = OfflineLLM(conversation)
    assert (await step(offline, ("user", " "))).text == replies.SAY_AGAIN
    assert (await step(offline, ("user", PAY), tool_choice="none")).text == replies.SAY_AGAIN


async def test_an_interrupted_answer_is_repeated_in_full(conversation: Conversation) -> None:
    answer = json.dumps({"status": "answer", "say": "It takes three days, or two with express.", "answers": []})
    turns = [("user", "q?"), ("tool", answer), ("cut", "It takes"), ("user", "Can you repeat that?")]
    assert (await step(OfflineLLM(conversation), *turns)).text == "It takes three days, or two with express."
    turns = [("assistant", "Hello!"), ("user", "Can you repeat that?")]
    assert (await step(OfflineLLM(conversation), *turns)).text == "Hello!"


class SynthesizerStandIn:
    """Takes down what it was asked to speak."""

    def __init__(self) -> None:
        self.spoken: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def sentences(self, text: str) -> list[str]:
        return [f"{sentence}." for sentence in text.strip(".").split(". ")]

    def speak(self, sentence: str) -> np.ndarray:
        self._loop.call_soon_threadsafe(self.spoken.put_nowait, sentence)
        return np.zeros(0, np.float32)


async def test_the_answer_is_prepared_while_the_turn_is_still_open(conversation: Conversation) -> None:
    synthesizer = SynthesizerStandIn()
    await step(OfflineLLM(conversation, synthesizer), ("user", PAY))  # type: ignore[arg-type]
    assert await synthesizer.spoken.get() == PAY_ANSWER
