"""Settings become flags; a setting that holds several values is a flag to be repeated."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from groundup.cli._options import config_from, config_options
from groundup.cli.data_show import command as data_show
from groundup.core.errors import GroundupError
from groundup.pretraining.config import PretrainConfig


def chosen(*flags: str) -> PretrainConfig:
    found = []

    @click.command()
    @config_options(PretrainConfig, skip=("data",))
    def command(**settings) -> None:
        found.append(config_from(PretrainConfig, None, settings))

    done = CliRunner().invoke(command, flags, catch_exceptions=False, standalone_mode=False)
    assert done.exit_code == 0, done.output
    return found[0]


def test_a_repeated_flag_is_a_mixture_and_none_is_no_setting():
    config = chosen("--mix", "web=data/a:0.7", "--mix", "law=data/b:0.3", "--packing", "best-fit", "--drop-tokens", "3")
    assert [(each.name, each.data, each.weight) for each in config.mix] == [
        ("web", "data/a", 0.7),
        ("law", "data/b", 0.3),
    ]
    assert (config.packing, config.drop_tokens) == ("best-fit", 3)
    assert "mix" not in chosen("--seed", "3").model_fields_set


def test_flags_replace_the_mixture_of_a_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("mix:\n  - web=data/a:2\n  - {name: law, data: data/b, weight: 1}\nseed: 5\n")
    config = config_from(PretrainConfig, file, {"mix": (), "seed": None})
    assert [(each.name, each.weight) for each in config.mix] == [("web", 2.0), ("law", 1.0)]
    config = config_from(PretrainConfig, file, {"mix": ("x=a", "y=b"), "seed": None})
    assert ([each.name for each in config.mix], config.seed) == (["x", "y"], 5)


def test_help_says_how_a_source_is_written():
    assert "NAME=FOLDER:WEIGHT" in CliRunner().invoke(data_show, ["--help"]).output


def test_a_mapping_is_a_flag_of_names_and_values_and_joins_that_of_a_file(tmp_path):
    flags = ("--model", "window=64", "--model", "qk_norm=true", "--model", "positions=none")
    assert chosen(*flags).model == {"window": 64, "qk_norm": True, "positions": "none"}
    assert chosen("--seed", "3").model == {}
    file = tmp_path / "run.yaml"
    file.write_text("model: {window: 5, norm: layer}\n")
    assert config_from(PretrainConfig, file, {"model": {"window": 7}}).model == {"window": 7, "norm": "layer"}
    with pytest.raises(GroundupError, match="--model window: write NAME=VALUE"):
        chosen("--model", "window")
    with pytest.raises(GroundupError, match="--model"):
        chosen("--model", "window={")
