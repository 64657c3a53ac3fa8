"""Other languages: how often Whisper's certainty tells them from English, for several thresholds of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from benchmarks import command
from benchmarks.spoken import word_errors
from benchmarks.voices import FITTED, available, recognise, speak
from faqlab.faqs import FaqSet
from faqlab.settings import settings
from faqlab.text import has_words
from faqlab.voice.agent import LEAST_CONFIDENCE

SENTENCES = Path(__file__).with_suffix(".json")
FITTED_LANGUAGES = ("de", "fr-fr", "es", "it", "pl")
"""Those on which `LEAST_CONFIDENCE` was chosen, with the voices in `FITTED`."""

THRESHOLDS = (0.2, 0.25, 0.3, LEAST_CONFIDENCE, 0.4, 0.45)
REPLIES = (
    "Okay.|Yes.|No, thank you.|The second one.|Can you repeat that?|How much is it?|And abroad?|Where is my parcel?"
)


def main(number: command.NumberOption = 48, as_json: command.JsonOption = False) -> None:
    """Say sentences in eleven languages and queries in English; compare Whisper's certainty about them."""
    queries = command.read_queries(None, FaqSet.load(settings().faqs), "tune", None)
    queries = queries[queries["kind"].isin(["everyday", "paraphrase", "spoken", "indirect"])].reset_index(drop=True)
    texts = [*command.choose_queries(queries, number or 48)["query"], *REPLIES.split("|")]
    foreign = json.loads(SENTENCES.read_text(encoding="utf-8"))
    said = [("en", voice, text) for voice in available() for text in texts]
    said += [(name, f"espeak {name}{kind}", text) for name in foreign for kind in ("", "+f2") for text in foreign[name]]
    rows = []
    for language, voice, text in tqdm(said, desc="Speaking and transcribing", disable=as_json):
        transcript = recognise(speak(text, voice))
        words, errors = word_errors(text, transcript.text) if language == "en" else (0, 0)
        rows.append((language, voice, transcript.text, float(np.exp(transcript.log_probability)), words, errors))
    table = pd.DataFrame(rows, columns=["language", "voice", "transcript", "certainty", "words", "errors"])
    report = summarise(table[table["transcript"].map(has_words)])
    if as_json:
        command.print_json(report.to_dict("records"))
    else:
        command.typer.echo(report.to_string(index=False, float_format="{:.3f}".format))


def summarise(transcripts: pd.DataFrame) -> pd.DataFrame:
    """
    Return what each threshold of certainty would refuse.

    Args:
        transcripts: One row each: `language`, `voice`, `certainty` (0 to 1), `words` and `errors` of English ones.

    Returns:
        For fitted and held-out languages and voices, and each of `THRESHOLDS`: the shares below it of what was said in
        `other languages` and in `English`, and the word error rate of that English and of `the rest`.
    """
    english, rows = transcripts["language"] == "en", []
    known = transcripts["voice"].isin(FITTED) | transcripts["language"].isin(FITTED_LANGUAGES)
    for part, table in (("fitted", transcripts[known]), ("held out", transcripts[~known])):
        mine, other = table[english[table.index]], table[~english[table.index]]
        for threshold in THRESHOLDS:
            low = mine["certainty"] < threshold
            rates = [some["errors"].sum() / max(1, some["words"].sum()) for some in (mine[low], mine[~low])]
            rows.append((part, threshold, (other["certainty"] < threshold).mean(), low.mean(), *rates))
    columns = ["voices", "threshold", "other languages", "English", "WER of these", "WER of the rest"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    command.run(main)
