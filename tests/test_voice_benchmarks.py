"""The benchmarks of other voices and of endpointing: what they count, without the programs that speak."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import endpointing, languages, voices
from faqlab.retriever import Retriever
from faqlab.voice.endpointing import PER_LOG_ODDS, SURE, SURE_S, UNSURE_S
from faqlab.voice.whisper import Transcript
from training.endpointing import MOST_CUT, choose_waits

RATE = voices.RATE
TONES = {hertz: np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32) * 0.1 for hertz in (100, 1000)}


def power(audio: np.ndarray) -> float:
    return float(np.mean(np.square(audio[RATE // 4 : -RATE // 4])))


def test_a_telephone_passes_its_band_only() -> None:
    low, middle = (power(voices.under("telephone", TONES[hertz])) / power(TONES[hertz]) for hertz in (100, 1000))
    assert low < 0.01
    assert middle == pytest.approx(1, abs=0.1)


def test_a_fan_is_as_loud_as_it_should_be_and_quiet_changes_nothing() -> None:
    speech = TONES[1000]
    ratio = power(speech) / power(voices.under("fan", speech) - speech)
    assert 10 * np.log10(ratio) == pytest.approx(voices.SNR_DB, abs=1.5)
    assert voices.under("quiet", speech) is speech


def test_queries_in_other_voices_are_measured(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    faq = retriever.faqs.entries[0]
    heard = {"quiet": (faq.question, -0.1), "babble": ("Where is the parsley?", -2.0)}
    monkeypatch.setattr(voices, "speak", lambda text, voice, speed: text)
    monkeypatch.setattr(voices, "under", lambda condition, audio: heard.get(condition, (audio, -0.1)))
    monkeypatch.setattr(voices, "_recognise", lambda of, *_: (Transcript(of[0], log_probability=of[1]), 0.1))
    queries = pd.DataFrame([{"id": "q0", "query": faq.question, "kind": "everyday", "relevant": (faq.id,)}])
    other = pd.DataFrame([{"id": "q1", "query": faq.question, "kind": "far_out_of_scope", "relevant": ()}])
    queries = pd.concat([queries.assign(answerable=True), other.assign(answerable=False)], ignore_index=True)
    ways = [way for way in voices.said("tiny.en") if way[1] == "hibari"]
    table = voices.measure(retriever, queries, ways)
    assert list(table["voice"]) == ["typed"] + 6 * ["hibari"]
    spoken = table.set_index(["speed", "condition"])
    assert spoken.loc[(1.0, "quiet"), ["WER", "right at once", "asked again", "STT s"]].tolist() == [0, 1, 0, 0.1]
    assert spoken.loc[(1.0, "babble"), ["right at once", "asked again"]].tolist() == [0, 1]
    assert spoken.loc[(1.0, "babble"), "WER"] > 0


def test_everyday_queries_are_chosen_first_and_only_answerable_ones() -> None:
    kinds = [*["everyday"] * 4, *["spoken"] * 6, *["typo"] * 5]
    queries = pd.DataFrame({"kind": kinds, "answerable": [n != 3 for n in range(15)], "query": range(15)})
    assert voices.choose(queries, 2)["kind"].tolist() == ["everyday"] * 2
    assert voices.choose(queries, 5)["kind"].tolist() == [*["everyday"] * 3, *["spoken"] * 2]
    assert voices.choose(queries, 15)["query"].tolist() == [0, 1, 2, *range(4, 10)]


def test_a_speaker_pauses_in_mid_sentence_only() -> None:
    text = "I bought a coat. It's too small, and I want another one."
    places = {n for seed in range(50) for n in endpointing.pauses(text, seed)}
    assert places <= {2, 3, 5, 6, 7, 8, 9, 10, 11}
    assert {7, 8} & places
    assert endpointing.pauses("Yes, please.") == []


def test_a_pause_is_cut_off_if_it_is_longer_than_the_wait() -> None:
    unsure = SURE - (0.55 - UNSURE_S) / PER_LOG_ODDS  # waits 0.55 s
    rows = [("flite slt", "question", *of) for of in ((True, SURE), (False, unsure), (False, SURE - 10))]
    table = pd.DataFrame(rows, columns=["voice", "kind", "whole", "log_odds"])
    voice, all_held_out, kind = endpointing.summarise(table).to_dict("records")
    assert (voice["what"], kind["what"]) == ("flite slt *", "question *")
    assert all_held_out | {"what": ""} == voice | {"what": ""}
    assert [voice[f"cut {pause} s"] for pause in (0.3, 0.5, 0.6, 0.7)] == [0, 0, 0.5, 0.5]
    assert (voice["AUROC"], voice["wait p50"], voice["≤ 0.5 s"]) == (1, SURE_S, 1)


def test_waits_are_chosen_so_that_few_pauses_of_half_a_second_are_cut_off() -> None:
    random = np.random.default_rng(0)
    whole = np.arange(4000) % 2 == 0
    log_odds = random.normal(np.where(whole, 1.0, -1.0), 1.0)
    sure, per = choose_waits(log_odds, pd.DataFrame({"whole": whole}))
    assert np.mean(log_odds[~whole] >= sure) == pytest.approx(MOST_CUT, abs=0.005)
    assert per > 0
    assert SURE_S < 0.5 < UNSURE_S


def test_what_a_threshold_of_certainty_refuses_is_counted() -> None:
    rows = [("en", "hibari", 0.9, 4, 0), ("en", "hibari", 0.1, 4, 4), ("de", "espeak de", 0.1, 0, 0),
            ("en", "flite slt", 0.9, 4, 1), ("nl", "espeak nl", 0.38, 0, 0)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["language", "voice", "certainty", "words", "errors"])
    summary = languages.summarise(table).set_index(["voices", "threshold"])
    assert summary.loc[("fitted", 0.2)].tolist() == [1, 0.5, 1, 0]
    assert summary.loc[("held out", 0.4)].tolist() == [1, 0, 0, 0.25]
    assert summary.loc[("held out", 0.36)].tolist() == [0, 0, 0, 0.25]
