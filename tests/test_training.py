"""Fine-tuning: what is trained, what is written, and that it is served as it was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from faqlab.encoder import ADAPTER_FILES, MINILM, ReferenceEncoder, fingerprint, load_encoder, load_sentence_transformer
from faqlab.errors import FaqlabError
from faqlab.evaluation import evaluate
from faqlab.faqs import FaqSet
from faqlab.queries import load_queries
from faqlab.retriever import RetrievalConfig, Retriever
from faqlab.training import TRAIN_VIEWS, TrainingConfig, load_own, train, verdict

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="module")
def few() -> dict:
    """A dozen entries of one trade with their queries: enough to see the training learn."""
    whole = FaqSet.load(DATA / "training/train/gym.json")
    faqs = FaqSet(whole.entries[:12])
    queries = load_queries(DATA / "training/train/gym.csv", whole)
    kept = [all(faq_id in faqs for faq_id in relevant) for relevant in queries["relevant"]]
    return {"gym": (faqs, queries[kept].reset_index(drop=True))}


@pytest.fixture(scope="module")
def adapter(few: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "encoder"
    train(few, out, TrainingConfig(epochs=3, batch_size=48))
    return out


def test_the_adapter_is_small_and_its_manifest_says_what_it_was_made_of(adapter: Path, few: dict) -> None:
    assert sum(file.stat().st_size for file in adapter.iterdir()) < 2_000_000
    manifest = json.loads((adapter / "manifest.json").read_text())
    assert manifest["base"]["name"] == MINILM
    assert list(manifest["data"]) == list(few)
    assert manifest["training"]["epochs"] == 3
    assert str(adapter.parent) not in (adapter / ADAPTER_FILES[0]).read_text()
    targets = json.loads((adapter / ADAPTER_FILES[0]).read_text())["target_modules"]
    assert targets == sorted(targets), "two runs would differ"


def test_a_notebook_that_loads_an_adapter_shows_no_warning(adapter: Path, recwarn: pytest.WarningsRecorder) -> None:
    load_sentence_transformer(str(adapter))
    assert [str(warning.message) for warning in recwarn] == []


def test_training_puts_right_answers_first_more_often_on_what_it_saw(adapter: Path, few: dict, tmp_path: Path) -> None:
    faqs, queries = few["gym"]
    hits = {}
    for name in (MINILM, str(adapter)):
        config = RetrievalConfig(encoder=name, views=TRAIN_VIEWS)
        retriever = Retriever.build(faqs, config, encoder=ReferenceEncoder(name), cache_dir=tmp_path)
        hits[name] = evaluate(retriever, queries)["hit@1"].mean()
    assert hits[str(adapter)] > hits[MINILM] + 0.05


def test_the_tuned_encoder_is_served_as_it_was_trained(adapter: Path, tmp_path: Path, few: dict) -> None:
    texts = few["gym"][1]["query"].tolist()[:40]
    served, reference = load_encoder(str(adapter), tmp_path).encode(texts), ReferenceEncoder(str(adapter)).encode(texts)
    plain = ReferenceEncoder(MINILM).encode(texts)
    assert (served * reference).sum(axis=1).min() >= 0.99999
    assert (plain * reference).sum(axis=1).max() < 0.999
    assert np.allclose(np.linalg.norm(served, axis=1), 1, atol=1e-5)


def test_another_adapter_is_another_fingerprint_and_a_damaged_one_is_refused(adapter: Path, tmp_path: Path) -> None:
    assert fingerprint(str(adapter)) != fingerprint(MINILM)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in adapter.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = bytearray((copy / ADAPTER_FILES[1]).read_bytes())
    weights[len(weights) // 2] ^= 1
    (copy / ADAPTER_FILES[1]).write_bytes(weights)
    with pytest.raises(FaqlabError, match="damaged"):
        load_encoder(str(copy), tmp_path / "cache")
    (copy / "manifest.json").unlink()
    with pytest.raises(FaqlabError, match="cannot be read"):
        load_encoder(str(copy), tmp_path / "cache")


def test_too_few_queries_to_train_on_are_said_to_be_too_few(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"questions": [{"question": "When are you open?", "answer": "From 9 to 6."}]}')
    (tmp_path / "mine.csv").write_text("query,relevant\nopening hours,0\nweather,\n")
    with pytest.raises(FaqlabError, match="too few to help"):
        load_own(tmp_path / "mine.json", tmp_path / "mine.csv")


def test_a_file_with_nothing_to_judge_by_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"questions": [{"question": "When are you open?", "answer": "From 9 to 6."}]}')
    lines = [f"opening hours for caller {n},0,tune" for n in range(60)] + ["the weather,,test"]
    (tmp_path / "mine.csv").write_text("\n".join(["query,relevant,split", *lines]))
    with pytest.raises(FaqlabError, match="to judge the training by"):
        load_own(tmp_path / "mine.json", tmp_path / "mine.csv")


def test_a_file_without_splits_is_trained_on_by_two_thirds_and_judged_by_the_rest(tmp_path: Path) -> None:
    entries = ",".join(f'{{"question": "Question {n}?", "answer": "Answer {n}."}}' for n in range(5))
    (tmp_path / "mine.json").write_text(f'{{"questions": [{entries}]}}')
    kinds = ("keyword", "spoken")
    lines = [f"words {n} of a caller,{n % 5},{kinds[n % 2]}" for n in range(90)]
    (tmp_path / "mine.csv").write_text("\n".join(["query,relevant,kind", *lines]))
    _, tune, test = load_own(tmp_path / "mine.json", tmp_path / "mine.csv")
    assert (len(tune), len(test)) == (60, 30)
    assert not set(tune["query"]) & set(test["query"])
    assert test["kind"].value_counts().to_dict() == {"keyword": 15, "spoken": 15}


def test_an_adapter_is_trained_on_and_judged_by_other_queries(adapter: Path, few: dict, tmp_path: Path) -> None:
    faqs, queries = few["gym"]
    tune, test = queries[::2].reset_index(drop=True), queries[1::2].reset_index(drop=True)
    own = {"own": (faqs, tune)}
    figures = train(own, tmp_path, TrainingConfig(epochs=1), start=str(adapter), judged_by={"own": (faqs, test)})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["figures"] == figures
    assert manifest["start"] == fingerprint(str(adapter))
    before = Retriever.build(
        faqs, RetrievalConfig(views=TRAIN_VIEWS), encoder=ReferenceEncoder(str(adapter)), cache_dir=tmp_path / "cache"
    )
    assert figures["own"]["hit@1 before"] == pytest.approx(evaluate(before, test)["hit@1"].mean(), abs=1e-3)
    with pytest.raises(FaqlabError, match="cannot be trained"):
        train(own, tmp_path, start="another/model")


def test_an_encoder_that_is_trained_on_is_not_overwritten_by_whatever_name(
    adapter: Path, few: dict, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in adapter.iterdir()}
    link = tmp_path / "link"
    link.symlink_to(adapter)
    for start in (adapter, link, adapter / ".." / adapter.name):
        with pytest.raises(FaqlabError, match="name another folder by --out"):
            train(few, adapter, start=str(start))
    assert {path: path.read_bytes() for path in adapter.iterdir()} == before


def test_an_adapter_is_trained_on_from_the_scale_and_the_none_that_it_has_learned(
    adapter: Path, few: dict, tmp_path: Path
) -> None:
    faqs, queries = few["gym"]
    start = tmp_path / "start"
    shutil.copytree(adapter, start)
    manifest = json.loads((start / "manifest.json").read_text())
    (start / "manifest.json").write_text(json.dumps(manifest | {"learned": {"scale": 33.0, "none": 0.25}}))
    train({"gym": (faqs, queries[:1])}, tmp_path / "out", TrainingConfig(epochs=1), start=str(start))
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["training"]["scale"], manifest["training"]["none"]) == (33.0, 0.25)
    assert manifest["learned"]["scale"] == pytest.approx(33, rel=0.02)
    assert manifest["learned"]["none"] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_a_few_steps_move_the_adapter(few: dict, tmp_path: Path, steps: int) -> None:
    faqs, queries = few["gym"]
    train({"gym": (faqs, queries[:steps])}, tmp_path, TrainingConfig(epochs=1, batch_size=1))
    weights = load_file(tmp_path / ADAPTER_FILES[1])
    moved = [name for name, values in weights.items() if "lora_B" in name and np.abs(values).max() > 1e-5]
    assert len(moved) == len(weights) / 2


@pytest.mark.parametrize(
    ("difference", "low", "high", "p", "says"),
    [
        (0.1, 0.05, 0.15, 0.001, "worth it"),
        (-0.1, -0.15, -0.05, 0.001, "worse"),
        (0.1, -0.05, 0.25, 0.2, "chance"),
        (0.1, 0.0, 0.2, 0.04, "chance"),
    ],
)
def test_the_verdict_does_not_promise_what_chance_could_do(
    difference: float, low: float, high: float, p: float, says: str
) -> None:
    figures = {
        "hit@1 before": 0.6,
        "hit@1": 0.6 + difference,
        "difference": difference,
        "low": low,
        "high": high,
        "p": p,
    }
    assert says in verdict(figures)
