"""
Long answers, played in Chromium: each is said in parts, the caller has it go on, and the page shows all of it.

    python -m benchmarks.long_answers

The caller asks for the FAQ's longest answers by the entries' own questions, in one call. What the page plays is
recorded and transcribed with Whisper. Needs Playwright (`pip install playwright`) and a Chromium.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from playwright.sync_api import Page, expect

from benchmarks import browser, command
from benchmarks.call_audio import pieces, transcribe
from benchmarks.calls import offline_demo
from benchmarks.spoken import word_errors
from benchmarks.words import normalise_words
from faqlab import replies
from faqlab.faqs import Faq, FaqSet
from faqlab.settings import settings
from faqlab.voice.spoken_text import speakable
from faqlab.voice.whisper import SAMPLE_RATE

CONSENTS = ("Yes.", "Go on.", "Yes, please.", "Continue.", "Okay, go on.")
"""What the caller says to hear the rest, in turn."""

PATIENCE_MS, PAUSE_MS = 60_000, 2000


def main(
    faqs: command.FaqsOption = None, number: command.NumberOption = 5, as_json: command.JsonOption = False
) -> None:
    """Ask for the longest answers, and report what was heard of each and whether the page shows all of it."""
    faqs = faqs or settings().faqs
    longest = sorted(FaqSet.load(faqs), key=lambda faq: -len(faq.answer.split()))[:number]
    with offline_demo(faqs, settings().retrieval, command.progress) as demo, browser.browser(browser.installed()) as of:
        page = of.new_page()
        page.add_init_script(browser.MICROPHONE + browser.RECORDER)
        page.goto(demo.url)
        page.get_by_test_id("join").click()
        is_listening(page)
        report = [hear(page, faq, CONSENTS[n % len(CONSENTS)]) for n, faq in enumerate(longest)]
    if as_json:
        command.print_json(report)
        return
    for row in report:
        command.typer.echo("\n  ".join([row["question"], *row["heard"]]))
    command.typer.echo(pd.DataFrame(report).drop(columns="heard").to_string(index=False))


def hear(page: Page, faq: Faq, consent: str) -> dict[str, Any]:
    """
    Ask for *faq* on the *page* of a call, and say *consent* as long as there is more.

    Returns:
        `question`; `consent`; `words`, of the answer; `heard`, the transcripts of what was heard after each thing said;
        `wer`, the word error rate of all that, in words as they're spoken, without the questions whether to go on; and
        `shown`, whether the page shows the answer, all of it in one place.
    """
    heard = [_reply(page, faq.question)]
    while _letters(heard[-1]).endswith(_letters(replies.GO_ON)) and len(heard) < 9:
        heard.append(_reply(page, consent))
    spoken = " ".join(_letters(part).removesuffix(_letters(replies.GO_ON)) for part in heard)
    words, errors = word_errors(_letters(faq.answer), spoken)
    shown = _letters(faq.answer) in _letters(page.get_by_test_id("transcript").inner_text())
    figures = {"words": words, "parts": len(heard), "wer": round(errors / words, 3), "shown": shown}
    return {"question": faq.question, "consent": consent, **figures, "heard": heard}


def is_listening(page: Page) -> None:
    """Wait until the assistant has spoken and listens, and hasn't merely paused."""
    state, expected = page.get_by_test_id("state"), "speaking"
    while expected:
        expect(state).to_have_attribute("data-state", expected, timeout=PATIENCE_MS)
        if expected == "listening":
            page.wait_for_timeout(PAUSE_MS)
        expected = "" if expected == state.get_attribute("data-state") == "listening" else "listening"


def _reply(page: Page, said: str) -> str:
    browser.take_recorded(page)
    browser.say(page, said)
    is_listening(page)
    audio = browser.take_recorded(page)
    return " ".join(map(transcribe, pieces(audio, SAMPLE_RATE)))


def _letters(text: str) -> str:
    return normalise_words(speakable(text))


if __name__ == "__main__":
    command.run(main)
