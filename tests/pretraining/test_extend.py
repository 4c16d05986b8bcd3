"""A model extended on disk: ids, rows and logits read back, by us and by transformers."""

from __future__ import annotations

import pytest
import torch
import transformers

from groundup.checkpoints.model_folder import load_model, save_model
from groundup.core.errors import GroundupError
from groundup.export.verify import verify_with_transformers
from groundup.models.discovery import build_model
from groundup.models.sizes import config_for_size
from groundup.pretraining.extend import extend_vocabulary
from groundup.tokenization import Tokenizer, train_tokenizer

OLD = "The cat sat on the mat. The dog sat on the cat. A bird is not a cat, nor is a dog a bird.\n" * 20
LAW = "Der Vertrag ist nichtig. Die Rechtsfähigkeit des Menschen beginnt mit der Vollendung der Geburt.\n"


@pytest.fixture(params=[("gpt2", torch.float32), ("qwen3", torch.bfloat16)], ids=["gpt2", "qwen3"])
def folder(request, tmp_path):
    architecture, dtype = request.param
    tokenizer = train_tokenizer([OLD], vocab_size=290)
    model = build_model(config_for_size("d2", 290, 64, architecture), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1, generator=generator)
    save_model(tmp_path / "run" / "model", model, tokenizer, dtype=dtype)
    for number in range(12):
        (tmp_path / f"law{number}.txt").write_text(LAW * 5)
    (tmp_path / "old.txt").write_text(OLD)
    return tmp_path


def test_a_run_is_extended_and_opens_elsewhere(folder):
    texts = [folder / f"law{number}.txt" for number in range(12)]
    done = extend_vocabulary(folder / "run", texts, add=40, out=folder / "new", old_text=folder / "old.txt")
    assert (done.folder, done.n_added, done.vocab_size) == (folder / "new", 40, 330)
    before, after = done.bytes_per_token["new text"]
    assert after > 1.5 * before
    before, after = done.bytes_per_token["old text"]
    assert after == pytest.approx(before, rel=0.05)
    assert done.max_logit_change < 1e-4
    old, old_tokenizer = load_model(folder / "run" / "model", dtype=torch.float32)
    new, new_tokenizer = load_model(folder / "new", dtype=torch.float32)
    assert new.config.vocab_size == 330
    assert new_tokenizer.eos_id == old_tokenizer.eos_id == new.config.eos_ids[0]
    ids = torch.tensor([old_tokenizer.encode("The cat sat on the dog")])
    torch.testing.assert_close(new(ids)[..., :290], old(ids))
    assert verify_with_transformers(folder / "new", ["The cat sat", LAW]).ids_equal
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "new", dtype=torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(ids).logits[..., :290], old(ids), atol=1e-4, rtol=1e-4)


def test_a_tokenizer_alone_is_extended(folder, tmp_path):
    old = Tokenizer.load(folder / "run" / "model")
    old.save(tmp_path / "tok")
    done = extend_vocabulary(tmp_path / "tok", folder / "law0.txt", add=10, out=tmp_path / "tok2")
    assert done.max_logit_change is None
    assert sorted(path.name for path in (tmp_path / "tok2").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    assert Tokenizer.load(tmp_path / "tok2").vocab_size == 300


def test_the_model_itself_is_never_overwritten(folder):
    for out in (folder / "run", folder / "run" / "model"):
        with pytest.raises(GroundupError, match="is the model itself; choose another folder"):
            extend_vocabulary(folder / "run", folder / "law0.txt", add=5, out=out)


def test_a_refusal_leaves_nothing(folder):
    with pytest.raises(GroundupError, match=r"ask for --add \d+ or fewer"):
        extend_vocabulary(folder / "run", folder / "law0.txt", add=9000, out=folder / "new")
    assert not (folder / "new").exists()
