"""What the benchmarks of many callers are made of. The programs that they start are tested in voice/."""

from __future__ import annotations

import asyncio
import os
import sys

import psutil
import pytest

from benchmarks.flood import Question, answer_times
from benchmarks.nodes import Balancer
from benchmarks.programs import SHORT_FAQ, Program, answered_right, environment, short_faq
from benchmarks.scripted_caller import Exchange
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet


def python(code: str, ready: str = "up") -> Program:
    return Program(sys.executable, "-c", code, ready=ready, environment=os.environ)


def test_a_program_runs_until_the_end_of_the_block_and_so_do_its_children() -> None:
    child = "subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)"
    with python(f"import subprocess, sys; p = {child}; print('up', p.pid, flush=True); p.wait()") as program:
        assert program.running
        [child_process] = program.process.children()
        assert program.output == f"up {child_process.pid}\n"
    assert not program.running
    assert not psutil.pid_exists(child_process.pid) or child_process.status() == psutil.STATUS_ZOMBIE


def test_a_program_that_ends_before_it_is_ready_is_reported_with_its_output() -> None:
    with (
        pytest.raises(FaqlabError, match=r"(?s)didn't start. The end of its output: no port"),
        python("exit('no port')"),
    ):
        pass


def test_programs_get_the_settings_of_the_benchmark_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "LIVEKIT_API_SECRET", "FAQLAB_TITLE", "OTHER"):
        monkeypatch.setenv(name, "mine")
    variables = environment(FAQLAB_CALLS=2)
    assert variables["FAQLAB_CALLS"] == "2"
    assert [name for name, value in variables.items() if value == "mine"] == ["OTHER"]


def test_only_the_right_answer_that_was_heard_counts() -> None:
    question, answer = next(iter(SHORT_FAQ.items()))
    assert answered_right(Exchange(question, reply=f"Hello! {answer}", first_audio_s=0.7))
    assert not answered_right(Exchange(question, reply=answer))
    assert not answered_right(Exchange(question, reply="Sorry.", first_audio_s=0.7))


def test_the_short_faq_can_be_loaded() -> None:
    with short_faq() as path:
        assert {faq.question: faq.answer for faq in FaqSet.load(path)} == SHORT_FAQ


def test_a_question_without_an_answer_leaves_no_longest_wait() -> None:
    waits = [Question(0, 3, wait, right=True) for wait in (0.5, 0.75, 1.25)]
    assert answer_times(waits) == {"questions": 3, "right": 3, "p50_s": 0.75, "max_s": 1.25}
    unanswered = Question(0, 20, None, right=False)
    assert answer_times([*waits, unanswered]) == {"questions": 4, "right": 3, "p50_s": 1.0, "max_s": None}
    assert answer_times([])["p50_s"] is None


async def test_the_load_balancer_takes_turns_and_leaves_out_a_dead_node() -> None:
    async def node(name: bytes) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name + await reader.readline())
            await writer.drain()
            writer.close()

        return await asyncio.start_server(answer, "127.0.0.1", 0)

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"?\n")
        answer = await reader.read()
        writer.close()
        return answer

    first, second = await node(b"first"), await node(b"second")
    with Balancer() as balancer:
        balancer.ports += [server.sockets[0].getsockname()[1] for server in (first, second)]
        assert sorted([await ask(balancer.port) for _ in range(4)]) == [b"first?\n"] * 2 + [b"second?\n"] * 2
        second.close()
        assert [await ask(balancer.port) for _ in range(3)] == [b"first?\n"] * 3
    first.close()
