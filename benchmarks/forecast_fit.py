"""The data behind the planner's loss forecast, and the fit of its constants.

    python benchmarks/forecast_fit.py collect --data ../shared/data --runs runs.txt   # trains; hours in all
    python benchmarks/forecast_fit.py fit                                             # seconds

`collect` trains one small model a line of `runs.txt` (CORPUS SHARE SIZE TOKENS [NAME=VALUE ...], for example
`shakespeare 0.2 d3 600000 weight_decay=0.1`) through the package's own rooms and adds a line to
benchmarks/data/forecast_runs.jsonl. Losses do not depend on the machine's speed. `fit` prints the constants for
src/groundup/pretraining/forecast.py and the error on each corpus when it is left out of the fit.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from pathlib import Path

RUNS = Path(__file__).parent / "data" / "forecast_runs.jsonl"
CORPORA = {
    "shakespeare": "corpora/tinyshakespeare.txt",
    "stories": "corpora/tinystories_cased_944k.txt",
    "stories4m": "corpora/tinystories_lowercased_4m.txt",
    "speeches": "corpora/sotu_1790_2026.jsonl",
    "wikipedia": "corpora/wiki_demo_en.txt",
    "wikitext": "corpora/wikitext2_test.txt",
    "web": "corpora/c4_demo_300.jsonl",
    "japanese": "corpora/wagahaiwa_nekodearu_ja.txt",
    "german_law": "domain/german_law_18_codes.jsonl",
    "medicine": "domain/medquad_answered.jsonl.gz",
    "verdict": "corpora/the-verdict.txt",
    "python": "",  # the text of `groundup quickstart`
}


def documents(name: str, data: Path, share: float) -> list[str]:
    """The corpus cut down to a share: every so manyeth document, or the beginning of a single one."""
    if name == "python":
        from groundup.pretraining.quickstart_text import write_quickstart_text

        folder = Path("/tmp/groundup-forecast/python-text")
        write_quickstart_text(folder)
        texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.txt"))]
    elif ".jsonl" in CORPORA[name]:
        path = data / CORPORA[name]
        lines = (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8").read().splitlines()
        rows = [json.loads(line) for line in lines]
        texts = ["\n".join(value for value in row.values() if isinstance(value, str) and " " in value) for row in rows]
    else:
        texts = [(data / CORPORA[name]).read_text(encoding="utf-8")]
    return texts[:: round(1 / share)] if len(texts) > 1 else [texts[0][: int(len(texts[0]) * share)]]


def collect(data: Path, work: Path, lines: list[str]) -> None:
    import torch

    torch.set_num_threads(1)
    for line in lines:
        corpus, share, size, tokens, *options = line.split()
        given = {name: float(value) for name, _, value in (option.partition("=") for option in options)}
        row = run(corpus, float(share), size, float(tokens), given, data, work)
        print(json.dumps(row), flush=True)
        RUNS.parent.mkdir(exist_ok=True)
        with open(RUNS, "a") as file:
            file.write(json.dumps(row) + "\n")


def run(corpus: str, share: float, size: str, n_tokens: float, given: dict, data: Path, work: Path) -> dict:
    """Train one model and say what it reached."""
    import torch

    from groundup.data.batches import EvaluationBatches, TrainingBatches
    from groundup.data.prepare import prepare
    from groundup.data.windows import Windows
    from groundup.models import build_model, config_for_size
    from groundup.pretraining.config import PretrainConfig
    from groundup.pretraining.forecast import measure_difficulty
    from groundup.pretraining.recipe import recipe_values
    from groundup.tokenization.training import train_tokenizer
    from groundup.training.job import Budget, Job
    from groundup.training.loop import train
    from groundup.training.objectives import next_token_loss
    from groundup.training.optimizers import Optimizer, OptimizerSettings
    from groundup.training.schedules import warmup_stable_decay

    texts = documents(corpus, data, share)
    n_bytes = sum(len(text.encode()) for text in texts)
    vocab_size = int(given.get("vocab_size", 2 ** min(13, max(9, round(math.log2(n_bytes) / 2)))))
    folder = work / f"{corpus}-{share}-{vocab_size}"
    text_file = folder / "text.jsonl"
    if not text_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        text_file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    tokenizer = train_tokenizer(texts, vocab_size=vocab_size)
    store = prepare([text_file], tokenizer, folder / "store", text_field="text")
    training, validation = store.split("train"), store.split("validation")
    context_length = int(given.get("context_length", 256))
    windows = Windows(training, context_length)
    config = config_for_size(size, store.vocab_size, context_length)
    batch_size = max(1, round(given.get("batch", 2.0) * n_tokens**0.5 / context_length))
    steps = max(1, round(n_tokens / (batch_size * context_length)))
    n_tokens = steps * batch_size * context_length
    torch.manual_seed(0)
    model = build_model(config, seed=int(given.get("seed", 0)))
    model.compute_dtype = torch.bfloat16
    rates = recipe_values(PretrainConfig(), config.d_model) | {k: v for k, v in given.items() if "learning_rate" in k}
    settings = OptimizerSettings(
        rates["learning_rate"],
        rates["embedding_learning_rate"],
        rates["head_learning_rate"],
        rates["vector_learning_rate"],
        weight_decay=given.get("weight_decay", rates["weight_decay"]),
    )
    job = Job(
        model,
        TrainingBatches(windows, batch_size=batch_size, micro_batch_size=batch_size, seed=int(given.get("seed", 0))),
        next_token_loss,
        Optimizer(model, settings),
        Budget(steps=steps),
        schedule=lambda step, progress: warmup_stable_decay(step, progress, decay=given.get("decay", rates["decay"])),
    )
    began = time.perf_counter()
    result = train(job)
    seconds = time.perf_counter() - began
    assert result.outcome == "finished", result.message
    model.eval()
    nats = n_targets = 0.0
    with torch.no_grad():
        for batch in EvaluationBatches(Windows(validation, context_length, to_the_end=True), 8, 100_000):
            nats += float(next_token_loss(model, batch))
            n_targets += batch.n_targets
    cache = folder / "difficulty.json"
    if not cache.exists():
        found = measure_difficulty([(training, validation, 1.0)], store.vocab_size)
        cache.write_text(json.dumps([[a.n_tokens, *(round(loss, 4) for loss in a.losses)] for a in found.anchors]))
    return {
        "corpus": corpus, "share": share, "size": size, "matrix_parameters": config.matrix_parameters(),
        "vocab_size": store.vocab_size, "tied": config.tie_embeddings, "context_length": context_length,
        "batch_size": batch_size, "steps": steps, "tokens": n_tokens, "train_tokens": training.n_tokens,
        "bytes_per_token": round(training.n_bytes / training.n_tokens, 4), "anchors": json.loads(cache.read_text()),
        "options": given, "loss": round(nats / n_targets, 4), "train_loss": result.loss, "seconds": round(seconds, 1),
    }  # fmt: skip


# What to believe before any run, and how firmly (in runs, roughly). The loss is that of counting; it moves with size as the
# published laws say but less, since counting on more text already accounts for much of it. That last one is held
# firmly: our runs are too small to tell it, and it alone decides beyond their range.
OLD_RECIPES = ("first_recipe", "second_recipe")  # runs made with them carry a constant of their own
PRIOR = {
    "constant": (0.0, 0.0), "trigram": (1.0, 0.003), "bigram": (0.2, 0.003), "size": (0.1, 1.0), "repeats": (0.5, 0.003),
    "together": (-0.02, 0.003), "memorising": (0.03, 0.003), "vocabulary": (0.0, 0.003),
    "first_recipe": (0.0, 0.003), "second_recipe": (0.0, 0.003),
}  # fmt: skip


def fit(rows: list[dict]) -> dict[str, float]:
    """The law's weights: least squares on log(loss), drawn towards `PRIOR`."""
    import numpy as np

    names = list(PRIOR)
    prior, firmness = np.array([PRIOR[name] for name in names]).T
    x = np.array([[row["features"][name] for name in names] for row in rows])
    y = np.log([row["loss"] for row in rows]) - x @ prior
    found = prior + np.linalg.solve(x.T @ x + np.diag(firmness), x.T @ y)
    return {name: round(float(value), 4) for name, value in zip(names, found, strict=True)}


def report_fit() -> None:
    from groundup.pretraining.forecast import Anchor, Difficulty, features

    rows = []
    for line in RUNS.read_text().splitlines():
        row = json.loads(line)
        if set(row["options"]) - {"seed", "vocab_size", *OLD_RECIPES}:
            continue  # another recipe than the default
        anchors = tuple(Anchor(n, tuple(losses)) for n, *losses in row["anchors"])
        difficulty = Difficulty(anchors, row["train_tokens"], row["vocab_size"])
        row["features"] = features(difficulty, row["matrix_parameters"], row["tokens"])
        row["features"] |= {name: row["options"].get(name, 0.0) for name in OLD_RECIPES}
        rows.append(row)
    law = fit(rows)
    print(f"{len(rows)} runs on {len({row['corpus'] for row in rows})} texts")
    print("LAW =", json.dumps(law, indent=4))
    squares = []
    for corpus in sorted({row["corpus"] for row in rows}):
        left_out = fit([row for row in rows if row["corpus"] != corpus])
        for row in (row for row in rows if row["corpus"] == corpus):
            told = math.exp(sum(left_out[name] * value for name, value in row["features"].items()))
            squares.append((told / row["loss"] - 1) ** 2)
            epochs = row["tokens"] / row["train_tokens"]
            print(
                f"{corpus:12s} {row['share']:4g} {row['size']:>3s} {row['tokens'] / 1e3:6.0f}k tokens {epochs:5.1f} epochs  "
                f"loss {row['loss']:.3f}  foretold {told:.3f} ({told / row['loss'] - 1:+.1%})"
            )
    squares.sort()
    print(f"texts left out of the fit: root mean square error {math.sqrt(sum(squares) / len(squares)):.1%}, "
          f"median {math.sqrt(squares[len(squares) // 2]):.1%}, largest {math.sqrt(squares[-1]):.1%}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["collect", "fit"])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--work", type=Path, default=Path("/tmp/groundup-forecast"))
    parser.add_argument("--runs", type=Path, help="file of runs, one a line")
    arguments = parser.parse_args()
    if arguments.command == "collect":
        lines = [line for line in arguments.runs.read_text().splitlines() if line.strip() and not line.startswith("#")]
        collect(arguments.data, arguments.work, lines)
    else:
        report_fit()


if __name__ == "__main__":
    main()
