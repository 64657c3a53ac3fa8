"""What the offline language model does with each kind of turn; whole conversations are in test_agent.py."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import numpy as np
import pytest
from livekit.agents import function_tool, llm

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.retriever import Retriever
from faqlab.small_talk import SmallTalk
from faqlab.voice.offline_llm import SLOW, OfflineLLM

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


SENTENCES = [f"Sentence {n} has as many words as {n} others of this text do." for n in range(1, 8)]
LONG = json.dumps({"status": "answer", "say": "", "answers": [{"answer": " ".join(SENTENCES)}]})
PARTS = [f"{' '.join(SENTENCES[:3])} {replies.GO_ON}", f"{' '.join(SENTENCES[3:6])} {replies.GO_ON}", SENTENCES[6]]


async def talk(conversation: Conversation, *turns: tuple[str, str]) -> str:
    return str((await step(OfflineLLM(conversation), ("user", "q?"), ("tool", LONG), *turns)).text)


async def test_a_long_answer_is_said_in_parts_that_end_with_a_sentence(conversation: Conversation) -> None:
    first = await talk(conversation)
    assert first == PARTS[0]
    assert len(first.split()) <= 44
    second = await talk(conversation, ("assistant", first), ("user", "yes, please"))
    third = await talk(conversation, ("assistant", first), ("user", "yes"), ("assistant", second), ("user", "go on"))
    assert " ".join([first, second, third]).replace(f" {replies.GO_ON}", "") == " ".join(SENTENCES)
    assert replies.GO_ON not in third


@pytest.mark.parametrize("word", ["Yes.", "okay", "sure", "please do", "carry on", "read me the rest"])
async def test_words_that_go_on(conversation: Conversation, word: str) -> None:
    assert (await talk(conversation, ("assistant", PARTS[0]), ("user", word))).startswith(SENTENCES[3])


@pytest.mark.parametrize(
    ("word", "reply"),
    [
        ("no thanks", replies.SMALL_TALK["no"]),
        ("stop", replies.SMALL_TALK["stop"]),
        ("hold on a second", replies.SMALL_TALK["wait"]),
        ("what was that?", PARTS[0]),
        ("slower please", PARTS[0]),
    ],
)
async def test_words_that_do_not_go_on(conversation: Conversation, word: str, reply: str) -> None:
    assert await talk(conversation, ("assistant", PARTS[0]), ("user", word)) == reply
    later = (("assistant", reply), ("user", "continue please"))
    assert (await talk(conversation, ("assistant", PARTS[0]), ("user", word), *later)).startswith(SENTENCES[3])


@pytest.mark.parametrize("remark", ["let me get a pen", "are you still there?", "stop", "okay"])
async def test_after_a_remark_the_answer_before_it_is_repeated(conversation: Conversation, remark: str) -> None:
    turns = [("user", "q?"), ("tool", PAY_ANSWER), ("assistant", PAY_ANSWER), ("user", remark)]
    reply = str((await step(OfflineLLM(conversation), *turns)).text)
    assert reply != PAY_ANSWER
    turns += [("assistant", reply), ("user", "can you say that again?")]
    assert (await step(OfflineLLM(conversation), *turns)).text == PAY_ANSWER


async def test_another_question_is_looked_up_and_nothing_is_left_of_the_long_answer(conversation: Conversation) -> None:
    offline, turns = OfflineLLM(conversation), [("user", "q?"), ("tool", LONG), ("assistant", PARTS[0])]
    assert (await step(offline, *turns, ("user", PAY))).tool_calls
    turns += [("user", PAY), ("tool", PAY_ANSWER), ("assistant", PAY_ANSWER)]
    assert (await step(offline, *turns, ("user", "yes"))).text == replies.SMALL_TALK["yes"]
    assert (await step(offline, *turns, ("user", "go on"))).text == replies.SMALL_TALK["continue"]


@pytest.mark.parametrize(
    ("cut", "word", "reply"),
    [
        ("Sentence 1 has", "sorry, what?", PARTS[0]),
        ("", "can you repeat that?", PARTS[0]),
        ("Sentence 1 has", "go on", PARTS[0]),
        ("Sentence 1 has", "okay", PARTS[0]),
    ],
)
async def test_an_interrupted_part_is_said_again_from_its_beginning(
    conversation: Conversation, cut: str, word: str, reply: str
) -> None:
    assert await talk(conversation, ("cut", cut), ("user", word)) == reply
    assert await talk(conversation, ("cut", cut), ("user", "what?"), ("cut", cut), ("user", word)) == reply


@pytest.mark.parametrize("joint", [", and ", " which ", "; ", " "])
async def test_a_sentence_that_is_too_long_is_cut_at_a_clause(conversation: Conversation, joint: str) -> None:
    text = f"{joint.join(f'you do the thing number {n} of all these things' for n in range(9))}."
    turns: list[tuple[str, str]] = [("user", "q?"), ("tool", text)]
    said = []
    for _ in range(3):
        part = str((await step(OfflineLLM(conversation), *turns)).text)
        said.append(part.removesuffix(f" {replies.GO_ON}"))
        assert (part != said[-1]) == (len(said) < 3)
        turns += [("assistant", part), ("user", "yes")]
    assert all(len(part.split()) <= 48 for part in said)
    assert re.findall(r"\w+", " ".join(said)) == re.findall(r"\w+", text)
    assert joint == " " or not any(part.removesuffix(".").endswith(("of", "all", "number")) for part in said)


async def test_go_on_is_an_invitation_where_nothing_can_go_on(conversation: Conversation) -> None:
    reply = await step(OfflineLLM(conversation), ("assistant", "Hello!"), ("user", "go on"))
    assert reply.text == replies.SMALL_TALK["yes"]


async def test_a_clarifying_question_is_said_whole(conversation: Conversation) -> None:
    say = " ".join(SENTENCES)
    output = json.dumps({"status": "clarify", "say": say, "answers": []})
    assert (await step(OfflineLLM(conversation), ("user", "q?"), ("tool", output))).text == say


class SynthesizerStandIn:
    """Takes down what it was asked to speak, and how fast."""

    speed = 1.0

    def __init__(self) -> None:
        self.spoken: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    @property
    def synthesizer(self) -> SynthesizerStandIn:
        return self

    def speak(self, sentence: str, speed: float) -> np.ndarray:
        self._loop.call_soon_threadsafe(self.spoken.put_nowait, (sentence, speed))
        return np.zeros(0, np.float32)


async def test_the_answer_is_prepared_while_the_turn_is_still_open(conversation: Conversation) -> None:
    tts = SynthesizerStandIn()
    await step(OfflineLLM(conversation, tts), ("user", PAY))  # type: ignore[arg-type]
    assert await tts.spoken.get() == (PAY_ANSWER, 1.0)


async def test_after_slower_everything_is_spoken_more_slowly(conversation: Conversation) -> None:
    tts = SynthesizerStandIn()
    offline = OfflineLLM(conversation, tts)  # type: ignore[arg-type]
    turns = [("user", PAY), ("tool", PAY_ANSWER), ("assistant", PAY_ANSWER), ("user", "can you say that more slowly?")]
    assert (await step(offline, *turns)).text == PAY_ANSWER
    await step(offline, ("user", PAY))
    assert await tts.spoken.get() == (PAY_ANSWER, SLOW)
