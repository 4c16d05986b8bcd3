"""Speeds are measured at the lengths asked for, within the context, by the models taking turns."""

from groundup.generation import speed
from groundup.generation.speed import lengths_up_to, writing_speed
from groundup.models import build_model, config_for_size


def test_lengths_double_up_to_the_context():
    assert lengths_up_to(100) == [16, 32, 64, 100]
    assert lengths_up_to(64) == [16, 32, 64]
    assert lengths_up_to(12) == [12]


def test_every_model_is_timed_at_every_length_and_none_slides(monkeypatch):
    models = {name: build_model(config_for_size("d1", 50, 24, name, d_model=32)) for name in ("gpt2", "qwen3")}
    seen = []
    plain = speed._step_seconds

    def noting(model, length, seed):
        seen.append((model.config.architecture, length, seed))
        return plain(model, length, seed)

    monkeypatch.setattr(speed, "_step_seconds", noting)
    found = writing_speed(models, [8, 24])
    assert seen[:4] == [("gpt2", 8, 0), ("qwen3", 8, 0), ("gpt2", 24, 0), ("qwen3", 24, 0)]
    assert {name: list(speeds) for name, speeds in found.items()} == {"gpt2": [8, 24], "qwen3": [8, 24]}
    assert all(1 < value < 1e6 for speeds in found.values() for value in speeds.values())
    assert len(plain(models["gpt2"], 24, 0)) == 12  # half of it, the other half is read
