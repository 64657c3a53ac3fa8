"""`chat`: one reply to each line, by the agent of a call."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import SHORT

from faqlab import replies
from faqlab.config import RetrievalConfig
from faqlab.encoder import Encoder
from faqlab.faqs import Faq, FaqSet
from faqlab.retriever import Answer, Retriever
from faqlab.settings import settings
from faqlab.small_talk import SmallTalk
from faqlab.voice.chat import chat

SHORT_ENTRIES = tuple(Faq(*entry) for entry in SHORT)
PAY, PAY_ANSWER = "How can I pay?", "You can pay by card, or by invoice."


@pytest.fixture(autouse=True)
def _loaded_once(small_talk: SmallTalk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmallTalk, "load", lambda encoder: small_talk)


@dataclass
class Reply:
    said: str
    answer: Answer | None = None


async def replies_to(lines: list[str], retriever: Retriever, fresh: bool = False) -> list[Reply]:
    found: list[Reply] = []
    await chat(lines, retriever, lambda said, answer: found.append(Reply(said, answer)), fresh)
    return found


async def test_each_line_gets_one_reply_and_only_the_end_of_input_ends_it(short_retriever: Retriever) -> None:
    lines = [PAY, "", "Goodbye!", "???", "caf\udce9 menu", "x" * 20_000, "Thank you.", PAY]
    found = await replies_to(lines, short_retriever)
    assert len(found) == len(lines)
    assert all(reply.said for reply in found)
    outcomes = [reply.answer.outcome.value if reply.answer else None for reply in found]
    assert outcomes == ["answer", None, None, "decline", "decline", "decline", None, "answer"]
    assert found[-1].said == PAY_ANSWER


async def test_the_replies_are_one_conversation(short_retriever: Retriever) -> None:
    lines = ["I want to return something", "the shoes, please", "can you repeat that"]
    clarified, chosen, repeated = await replies_to(lines, short_retriever)
    assert clarified.answer and clarified.answer.choices
    assert chosen.answer and chosen.answer.reason.value == "chosen"
    assert (repeated.said, repeated.answer) == (chosen.said, None)


async def test_replies_that_refer_to_what_was_said_before(short_retriever: Retriever) -> None:
    lines = {
        "Do you deliver abroad?": "Yes, we deliver to forty countries.",
        "how much does that cost": "Yes, we deliver to forty countries.",
        "that's not what I asked": replies.SMALL_TALK["complaint"],
        "I want to return something": "Which one do you mean? Can I return … One: a gift? Two: shoes?",
        "hang on a second": replies.SMALL_TALK["wait"],
        "yes": "Sorry, I didn't get that. Which one do you mean? Can I return … One: a gift? Two: shoes?",
        "too": "Yes, you can return shoes within thirty days.",
        "no, the other one": "Yes, with the gift receipt.",
        "How can I pay and where is my parcel?": f"{PAY_ANSWER} Follow the link in your shipping email.",
        "the second": replies.SMALL_TALK["choice"],
    }
    said = [reply.said for reply in await replies_to(list(lines), short_retriever)]
    assert dict(zip(lines, said, strict=True)) == lines


async def test_a_long_answer_is_offered_in_parts_and_its_look_up_has_all_of_it(
    encoder: Encoder, small_talk: SmallTalk, tmp_path: Path
) -> None:
    steps = [f"Step {n} is to turn the next key and to wait until its lamp is green." for n in range(1, 7)]
    entries = (Faq("alarm", "How do I set the alarm?", "\n".join(f"- {step}" for step in steps)), *SHORT_ENTRIES)
    config = RetrievalConfig(top_k=3, scale=20.0, null_cosine=0.45, decline_below=0.5, answer_from=0.9)
    retriever = Retriever.build(FaqSet(entries), config, encoder=encoder, cache_dir=tmp_path)
    first, second = (f"{steps[n]} {steps[n + 1]}" for n in (0, 2))
    third = " ".join(steps[4:])
    lines = [
        ("how do I set the alarm", f"{first} {replies.GO_ON}"),
        ("sorry, what?", f"{first} {replies.GO_ON}"),
        ("hang on a second", replies.SMALL_TALK["wait"]),
        ("okay go on", f"{second} {replies.GO_ON}"),
        ("slower please", f"{second} {replies.GO_ON}"),
        ("yes please", third),
        ("go on", replies.SMALL_TALK["continue"]),
        ("how do I set the alarm", f"{first} {replies.GO_ON}"),
        ("How can I pay?", PAY_ANSWER),
        ("how do I set the alarm", f"{first} {replies.GO_ON}"),
        ("no thanks", replies.SMALL_TALK["no"]),
        ("yes", replies.SMALL_TALK["yes"]),
    ]
    found = await replies_to([line for line, _ in lines], retriever)
    assert [reply.said for reply in found] == [said for _, said in lines]
    assert found[0].answer and found[0].answer.hits[0].faq.answer == entries[0].answer


async def test_who_wants_a_person_hears_the_owners_sentence(
    short_retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAQLAB_CONTACT", "Our desk is at 5 Mill Lane.")
    settings.cache_clear()
    lines = ["operator", "I've had enough of this", "do you sell boats", "I asked whether you sell boats"]
    said = [reply.said for reply in await replies_to(lines, short_retriever)]
    settings.cache_clear()
    assert [text.endswith(" Our desk is at 5 Mill Lane.") for text in said] == [True, True, False, True]


async def test_each_line_may_be_a_new_conversation(short_retriever: Retriever) -> None:
    lines = ["I want to return something", "the second one", "can you repeat that"]
    _, second, repeated = await replies_to(lines, short_retriever, fresh=True)
    assert second.answer is None or second.answer.reason.value != "chosen"
    assert repeated.said == replies.GREETING


async def test_hundreds_of_lines_leave_neither_tasks_nor_warnings(
    short_retriever: Retriever, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = await replies_to([PAY] * 100, short_retriever)
    assert [reply.said for reply in found] == [PAY_ANSWER] * 100
    assert caplog.records == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failing_look_up_is_apologised_for_in_each_reply(
    short_retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("faqlab.conversation.Conversation.ask", fail)
    assert await replies_to([PAY] * 4, short_retriever) == [Reply(replies.SORRY)] * 4
