"""
Teach the encoder what an FAQ is: fine-tune MiniLM on labelled queries, as a small adapter.

Each query is a softmax over the entries of its own FAQ and a class "none", which stands for a fixed cosine:
logit_i = scale · cos(query, entry_i), logit_none = scale · none. The entries of one FAQ are each other's negatives,
hard ones among them; out-of-scope queries are right when "none" is. The loss is the negative log of the probability
on the right entries. Only LoRA matrices (Hu et al., 2021) beside the transformer's linear layers are trained; they are
merged into the weights when the serving model is exported, so that size and speed stay as they were.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from faqlab.cache import sha256, write_aside
from faqlab.encoder import (
    ADAPTER_FILES,
    MAX_TOKENS,
    MINILM,
    MINILM_SHA256,
    ReferenceEncoder,
    adapter_folder,
    fingerprint,
    load_sentence_transformer,
)
from faqlab.errors import FaqlabError
from faqlab.evaluation import compare, evaluate, is_clear, summarise
from faqlab.faqs import FaqSet
from faqlab.index import VIEWS, VectorIndex
from faqlab.queries import load_queries
from faqlab.retriever import BASELINE, Retriever

if TYPE_CHECKING:
    import torch

TRAIN_VIEWS = ("question", "question_answer", "answer")
"""What of an entry the training embeds, and so what a retriever on the tuned encoder should."""


Trades = dict[str, tuple[FaqSet, pd.DataFrame]]
"""FAQs with their labelled queries, by name."""

FEWEST = 50
"""Fewer answerable queries than this teach an encoder little but their own words."""


@dataclass(frozen=True)
class TrainingConfig:
    """
    How to train.

    Attributes:
        epochs: Passes over the queries.
        batch_size: Queries of one FAQ that are judged together.
        learning_rate: Peak, of one cycle that warms up over a tenth of the steps.
        rank: Of the LoRA matrices; their scale is twice the rank.
        scale: Where the learned scale of the logits starts; an adapter that is trained on has its own.
        none: Where the learned cosine of "none" starts; likewise.
        seed: Of everything that is drawn.
    """

    epochs: int = 2
    batch_size: int = 112
    learning_rate: float = 6e-4
    rank: int = 16
    scale: float = 20.0
    none: float = 0.5
    seed: int = 0


def load_trades(folder: Path) -> Trades:
    """Return every FAQ in *folder* with its queries, by name: `NAME.json` with `NAME.csv`."""
    trades = {}
    for path in sorted(folder.glob("*.json")):
        faqs = FaqSet.load(path)
        trades[path.stem] = faqs, load_queries(path.with_suffix(".csv"), faqs)
    return trades


def load_own(faqs_path: Path, queries_path: Path) -> tuple[FaqSet, pd.DataFrame, pd.DataFrame]:
    """
    Return one FAQ, the queries to train on and those to judge by: the splits of the file, or where it has none two
    thirds and one third of every kind.

    Raises:
        FaqlabError: the files cannot be used, or there are too few queries to train on or to judge by.
    """
    faqs = FaqSet.load(faqs_path)
    queries = load_queries(queries_path, faqs)
    if (queries["split"] == "").any():
        queries = queries.sample(frac=1, random_state=0)
        queries["split"] = np.where(queries.groupby("kind").cumcount() % 3 == 2, "test", "tune")
    tune, test = (queries[queries["split"] == split].sort_index().reset_index(drop=True) for split in ("tune", "test"))
    if tune["answerable"].sum() < FEWEST:
        raise FaqlabError(
            f"{queries_path}: {tune['answerable'].sum()} answerable queries to train on are too few to help: "
            f"write {FEWEST} or more, three for each entry or so."
        )
    if not test["answerable"].any():
        raise FaqlabError(
            f"{queries_path}: no answerable query to judge the training by: give some the split 'test', "
            "or leave the column out, and a third is kept apart."
        )
    return faqs, tune, test


def train(
    trades: Trades,
    out: Path,
    config: TrainingConfig = TrainingConfig(),
    *,
    start: str = MINILM,
    judged_by: Trades | None = None,
) -> dict[str, dict[str, float]]:
    """
    Train an adapter and write it to *out*: `adapter_config.json`, `adapter_model.safetensors`, `manifest.json`.

    Args:
        trades: FAQs with their labelled queries, by name.
        out: A folder; another adapter there is replaced, its manifest last.
        config: How to train.
        start: The encoder to begin with: MiniLM, or the folder of an adapter, which is trained on.
        judged_by: FAQs with queries that are not trained on.

    Returns:
        For each of *judged_by*, also kept in the manifest: `hit@1`, `hit@3` and `auroc`, and how they were with *start*
        (`… before`); `difference` of hit@1 with its interval `low`, `high`, and `p` of the paired test.

    Raises:
        FaqlabError: *out* cannot be written, or is *start*; or that is something else, or damaged.
    """
    import torch

    adapter = adapter_folder(start)
    if adapter and out.resolve() == adapter.resolve():
        raise FaqlabError(f"{out}: is the encoder to begin with, and would be lost: name another folder by --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise FaqlabError(f"{out}: cannot be written ({error.strerror}): name another folder by --out.") from None
    started_from = fingerprint(start)
    if adapter:
        config = replace(config, **json.loads((adapter / "manifest.json").read_bytes()).get("learned", {}))
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    model = _Trainee(config, start)
    batches = [
        (name, rows)
        for name, (_, queries) in trades.items()
        for rows in np.array_split(np.arange(len(queries)), math.ceil(len(queries) / config.batch_size))
    ]
    steps = config.epochs * len(batches)
    groups = [
        {"params": model.weights, "lr": config.learning_rate},
        {"params": [model.log_scale, model.none], "lr": 1e-2},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    # A cycle of one step begins at its end, where nothing is learned; one of ten divides by 0 at a tenth.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [config.learning_rate, 1e-2], total_steps=max(steps, 2), pct_start=0.1 + 1e-9
    )
    with tqdm(total=steps, desc="Training", unit="step") as bar:
        for _ in range(config.epochs):
            orders = {name: rng.permutation(len(queries)) for name, (_, queries) in trades.items()}
            for i in rng.permutation(len(batches)):
                name, rows = batches[i]
                faqs, queries = trades[name]
                loss = model.loss(faqs, queries.iloc[orders[name][rows]])
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.weights, 1.0)
                optimiser.step()
                schedule.step()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
                bar.update()
    manifest = {
        "base": {"name": MINILM, "sha256": MINILM_SHA256},
        "start": started_from,
        "data": {
            name: sha256((faqs.sha256 + queries.to_csv(index=False)).encode())
            for name, (faqs, queries) in trades.items()
        },
        "training": asdict(config) | {"views": TRAIN_VIEWS},
        "learned": {"scale": round(model.log_scale.exp().item(), 2), "none": round(model.none.item(), 3)},
    }
    model.save(out, manifest)
    manifest["figures"] = figures = _judge(judged_by or {}, start, str(out.resolve()))
    write_aside(out / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    return figures


def verdict(figures: Mapping[str, float]) -> str:
    """Return in words what the figures of `train` for one FAQ say."""
    gained = f"hit@1 {figures['hit@1 before']:.3f} → {figures['hit@1']:.3f}"
    interval = f"{figures['difference']:+.3f}, 95 % interval {figures['low']:+.3f} to {figures['high']:+.3f}"
    if not is_clear(figures):
        so = "these queries are too few, or the gain too small, to tell it from chance"
    else:
        so = "worth it" if figures["difference"] > 0 else "worse: keep the encoder that you had"
    return f"{gained} ({interval}, p = {figures['p']:.4f}): {so}"


def _judge(trades: Trades, before: str, after: str) -> dict[str, dict[str, float]]:
    """Return the figures of `train` for two encoders."""
    figures = {}
    encoders = [ReferenceEncoder(before), ReferenceEncoder(after)] if trades else []
    for name, (faqs, queries) in trades.items():
        old, new = (
            evaluate(Retriever(faqs, encoder, VectorIndex.open(faqs, encoder, TRAIN_VIEWS, None), BASELINE), queries)
            for encoder in encoders
        )
        values = {measure: summarise(new)["value"][measure] for measure in ("hit@1", "hit@3", "auroc")}
        values |= {f"{measure} before": summarise(old)["value"][measure] for measure in values}
        figures[name] = {key: round(float(value), 4) for key, value in (values | compare(new, old)).items()}
    return figures


class _Trainee:
    """MiniLM with a trainable adapter, the scale of the logits and the cosine of "none"."""

    def __init__(self, config: TrainingConfig, start: str) -> None:
        import torch
        from peft import LoraConfig, PeftModel, get_peft_model

        sentence_transformer = load_sentence_transformer(MINILM)
        self.tokenizer = sentence_transformer.tokenizer
        transformer: Any = sentence_transformer[0].auto_model
        adapter = adapter_folder(start)
        if start != MINILM and adapter is None:
            raise FaqlabError(f"{start} cannot be trained: only {MINILM} can, and adapters to it.")
        linear = [name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)]
        linear = [name for name in linear if name.startswith("encoder.")]
        fresh = LoraConfig(r=config.rank, lora_alpha=2 * config.rank, target_modules=linear)
        self.transformer: Any = (
            PeftModel.from_pretrained(transformer, str(adapter), is_trainable=True)
            if adapter
            else get_peft_model(transformer, fresh)
        )
        self.transformer.eval()  # no dropout: more trades keep it from learning by heart better than noise does
        transformer.set_attn_implementation("eager")  # backwards in bfloat16 three times as fast as the fused one
        self.in_bfloat16 = bool(torch.cpu.get_capabilities().get("amx_bf16"))  # elsewhere it is the slower way
        self.weights = [p for p in self.transformer.parameters() if p.requires_grad]
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(config.scale)))
        self.none = torch.nn.Parameter(torch.tensor(config.none))

    def loss(self, faqs: FaqSet, queries: pd.DataFrame) -> torch.Tensor:
        import torch

        views = [self._embed([VIEWS[view](faq) for faq in faqs]) for view in TRAIN_VIEWS]
        entries = torch.nn.functional.normalize(torch.stack(views).mean(0), dim=1)
        cosines = self._embed(queries["query"].tolist()) @ entries.T
        logits = self.log_scale.exp() * torch.cat([cosines, self.none.expand(len(queries), 1)], dim=1)
        right = torch.zeros_like(logits, dtype=torch.bool)
        for row, relevant in enumerate(queries["relevant"]):
            right[row, [faqs.position[faq_id] for faq_id in relevant] or [len(faqs)]] = True
        on_right = torch.log_softmax(logits, dim=1).masked_fill(~right, -torch.inf)
        return -torch.logsumexp(on_right, dim=1).mean()

    def _embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit vectors that carry gradients, shape (texts, 384)."""
        import torch

        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding, half the time
        vectors = []
        for start in range(0, len(texts), 96):
            batch = [texts[i] for i in by_length[start : start + 96]]
            tokens = self.tokenizer(batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
                hidden = self.transformer(**tokens).last_hidden_state.float()
            weight = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            vectors.append((hidden * weight).sum(1) / weight.sum(1))
        return torch.nn.functional.normalize(torch.cat(vectors)[np.argsort(by_length)], dim=1)

    def save(self, out: Path, manifest: dict[str, Any]) -> None:
        """Write the adapter in peft's own format, its matrices in half precision, then the manifest."""
        from safetensors.torch import load_file, save_file

        config = self.transformer.peft_config["default"]
        config.base_model_name_or_path = f"sentence-transformers/{MINILM}"
        config.target_modules = sorted(config.target_modules)  # a set's order differs from run to run
        with tempfile.TemporaryDirectory() as folder:
            self.transformer.save_pretrained(folder, save_embedding_layers=False)
            weights = Path(folder, ADAPTER_FILES[1])
            save_file({k: v.half().contiguous() for k, v in load_file(weights).items()}, weights, {"format": "pt"})
            for name in ADAPTER_FILES:
                write_aside(out / name, Path(folder, name).read_bytes())
        manifest["sha256"] = sha256((out / ADAPTER_FILES[1]).read_bytes())
        write_aside(out / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
