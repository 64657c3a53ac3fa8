"""Fine-tuning: what is trained, what is written, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from faqlab.encoder import ADAPTER_FILES, MINILM, find_weights
from faqlab.errors import FaqlabError
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from training.train_encoder import TrainingConfig, load_own, main, train, verdict

Trained = tuple[Path, dict[str, float]]

SMALL = {
    "Where is my parcel?": ["track my parcel", "my parcel is late", "when does my parcel come"],
    "How do I pay?": ["can I use a credit card", "paying by invoice", "how to pay"],
    "Can I return shoes?": ["send shoes back", "the shoes are too small", "return boots"],
}
"""Questions, and queries that any encoder would find them by."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads of torch spin while they wait for each other, for minutes on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An FAQ whose labels are wrong: each query is labelled with the entry after its own."""
    labels = [(query, (n + 1) % len(SMALL)) for n, queries in enumerate(SMALL.values()) for query in queries]
    lines = ["query,relevant", *(f"{query},{n}" for query, n in labels), "who won the match,", "will it rain,"]
    faqs, queries = own(tmp_path_factory.mktemp("own"), [*SMALL], lines)
    entries = FaqSet.load(faqs)
    return {"mine": (entries, load_queries(queries, entries))}


def own(folder: Path, questions: list[str], lines: list[str]) -> tuple[Path, Path]:
    faqs, queries = folder / "mine.json", folder / "mine.csv"
    faqs.write_text(json.dumps({"questions": [{"question": question, "answer": "Yes."} for question in questions]}))
    queries.write_text("\n".join(lines))
    return faqs, queries


@pytest.fixture(scope="module")
def trained(domains: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An adapter after ten steps, and its figures on the queries that it was trained on."""
    out = tmp_path_factory.mktemp("training") / "encoder"
    return out, train(domains, out, TrainingConfig(epochs=10, learning_rate=2e-3), judged_by=domains)["mine"]


def test_the_encoder_learns_what_the_labels_say(trained: Trained) -> None:
    adapter, figures = trained
    assert figures["hit@1 before"] == 0
    assert figures["hit@1"] == figures["difference"] > 0.7
    weights = load_file(adapter / ADAPTER_FILES[1])
    changed = [name for name, values in weights.items() if "lora_B" in name and np.abs(values).max() > 1e-5]
    assert len(changed) == len(weights) / 2, "B begins at 0"


def test_the_adapter_is_small_and_says_what_it_was_made_of(trained: Trained) -> None:
    adapter, figures = trained
    assert sum(file.stat().st_size for file in adapter.iterdir()) < 2_000_000
    manifest = json.loads((adapter / "manifest.json").read_text())
    assert (manifest["base"]["name"], manifest["start"]) == (MINILM, fingerprint(MINILM))
    assert (list(manifest["data"]), manifest["training"]["epochs"]) == (["mine"], 10)
    assert manifest["figures"] == {"mine": figures}
    config = (adapter / ADAPTER_FILES[0]).read_text()
    assert str(adapter.parent) not in config
    targets = json.loads(config)["target_modules"]
    assert targets == sorted(targets), "or two runs would differ"


def fingerprint(name: str) -> str:
    weights = find_weights(name)
    assert weights
    return weights.fingerprint


def test_one_step_trains_an_adapter_further_from_what_it_has_learned(
    trained: Trained, domains: dict[str, Any], tmp_path: Path
) -> None:
    start, out, (faqs, queries) = tmp_path / "start", tmp_path / "out", domains["mine"]
    shutil.copytree(trained[0], start)
    manifest = json.loads((start / "manifest.json").read_text())
    (start / "manifest.json").write_text(json.dumps(manifest | {"learned": {"scale": 33.0, "none": 0.25}}))
    train({"mine": (faqs, queries[:1])}, out, TrainingConfig(epochs=1), start=str(start))
    after = json.loads((out / "manifest.json").read_text())
    assert after["start"] == fingerprint(str(start))
    assert (after["training"]["scale"], after["training"]["none"]) == (33.0, 0.25)
    assert after["learned"]["scale"] == pytest.approx(33, rel=0.02)
    assert after["learned"]["none"] == pytest.approx(0.25, abs=0.02)
    assert after["sha256"] != manifest["sha256"]


def test_the_encoder_to_begin_with_is_never_overwritten(
    trained: Trained, domains: dict[str, Any], tmp_path: Path
) -> None:
    adapter, _ = trained
    (tmp_path / "link").symlink_to(adapter)
    for start in (adapter, tmp_path / "link"):
        with pytest.raises(FaqlabError, match="use another --out"):
            train(domains, adapter, start=str(start))
    with pytest.raises(FaqlabError, match=r"only .* can be trained"):
        train(domains, tmp_path / "out", start="another/model")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["query,relevant", "opening hours,0", "weather,"], "too few to train on"),
        (["query,relevant,split", *(f"hours {n},0,tune" for n in range(60)), "weather,,test"], "query to test on"),
    ],
)
def test_too_few_queries_are_refused(tmp_path: Path, lines: list[str], problem: str) -> None:
    with pytest.raises(FaqlabError, match=problem):
        load_own(*own(tmp_path, ["When are you open?"], lines))


def test_both_of_your_own_files_are_needed() -> None:
    with pytest.raises(FaqlabError, match="--faqs and --queries go together"):
        main(faqs=Path("mine.json"))


def test_a_file_without_splits_is_divided_in_two_thirds_and_one_third_of_each_kind(tmp_path: Path) -> None:
    kinds = ("keyword", "spoken")
    lines = [f"words {n} of a caller,{n % 5},{kinds[n % 2]}" for n in range(90)]
    _, tune, test = load_own(*own(tmp_path, [f"Question {n}?" for n in range(5)], ["query,relevant,kind", *lines]))
    assert (len(tune), len(test)) == (60, 30)
    assert not set(tune["query"]) & set(test["query"])
    assert test["kind"].value_counts().to_dict() == {"keyword": 15, "spoken": 15}


@pytest.mark.parametrize(
    ("difference", "low", "high", "p", "meaning"),
    [
        (0.1, 0.05, 0.15, 0.001, "worth it"),
        (-0.1, -0.15, -0.05, 0.001, "worse"),
        (0.1, -0.05, 0.25, 0.2, "chance"),
        (0.1, 0.0, 0.2, 0.04, "chance"),
    ],
)
def test_a_gain_that_chance_explains_is_not_called_worth_it(
    difference: float, low: float, high: float, p: float, meaning: str
) -> None:
    figures = {"hit@1 before": 0.6, "hit@1": 0.6 + difference, "difference": difference}
    assert meaning in verdict({**figures, "low": low, "high": high, "p": p})
