"""The parity matrix: every case of tests/parity measured against transformers, as docs/parity.md.

    python benchmarks/parity.py

The cases and the measures are those of the tests (tests/parity/families/*.yaml); this only writes down what they find.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import torch
import transformers

from groundup.models import model_types
from groundup.tokenization.training import train_tokenizer

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "parity.md"
INTRODUCTION = """# Parity with transformers

What Groundup computes beside what `transformers` {version} computes, from the same files, in fp32 on a CPU. Each row is a tiny
random model whose settings are all set to something else than their defaults (`tests/parity/families/`); every weight is
away from zero and one, so that none can be dropped or swapped unseen. Figures are the largest |difference| of two logits,
over all positions of three rows; the logits themselves spread over units. The tests refuse more than {tolerance:g}.

- **opened**: a folder written by the one, opened by the other.
- **decoding**: token by token, each side with its own cache, against the other's logits.
- **saved back**: loaded here, saved here, opened by transformers: against transformers' logits for the first folder.
- **greedy**: tokens written alike by both engines, of {n_new}.

Written by `python benchmarks/parity.py`; `tests/parity/test_matrix.py` checks that no case is missing.

| architecture | case | written by | opened | decoding | saved back | greedy |
|---|---|---|---:|---:|---:|---:|
"""


def main() -> None:
    spec = importlib.util.spec_from_file_location("saving_back", ROOT / "tests" / "parity" / "test_saving_back.py")
    assert spec is not None and spec.loader is not None
    back = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(back)
    cases, tokenizer = (
        back.cases,
        train_tokenizer(["the quick brown fox jumps over the lazy dog. " * 20], vocab_size=280),
    )
    torch.set_num_threads(1)  # sums in one order, so that the figures are the same each time
    families = model_types()
    lines = []
    for kind, name in back.CASES:
        ours = kind == "ours"
        architecture = cases.OURS[name].architecture if ours else families[cases.THEIRS[name]["model_type"]]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            opened = (cases.ours_there if ours else cases.theirs_here)(name, place / "opened", tokenizer)
            decoding = "" if ours else f"{cases.decoding(name, place / 'decoding', tokenizer):.1e}"
            saved_back = back.saved_back(kind, name, place / "back", tokenizer)
            greedy = back.greedy_tokens(kind, name, place / "greedy", tokenizer)
        writer = "Groundup" if ours else "transformers"
        lines.append(
            f"| {architecture} | {name} | {writer} | {opened:.1e} | {decoding} | {saved_back:.1e} | {greedy} |"
        )
        print(lines[-1])
    head = INTRODUCTION.format(version=transformers.__version__, tolerance=cases.TOLERANCE, n_new=back.N_NEW)
    PAGE.write_text(head + "\n".join(sorted(lines)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
