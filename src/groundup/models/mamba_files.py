"""What Mamba and Mamba 2 share in the files other tools read.

Sources: the `config.json` and `model.safetensors` of the published models (state-spaces/mamba-130m-hf and its kin), and
the configuration classes of transformers 5.
"""

from __future__ import annotations

from typing import Any

from groundup.models.mamba_network import MambaConfig
from groundup.models.weights import ForeignConfig, Row, WeightTable, eos_ids, eos_value

# Published files do not say how long the texts of training were: 2,048 tokens (Gu and Dao 2023, section 4.2).
TRAINED_ON = 2048

# How a new model begins, how fast it runs and in which pieces, and names of the first training code. Files of Mamba 2 say
# norm_before_gate true, yet were trained, and are read by all, with the gate before the norm.
WITHOUT_EFFECT = """
    norm_before_gate time_step_min time_step_max time_step_floor time_step_scale time_step_init_scheme rescale_prenorm_residual
    use_mambapy use_associative_scan chunk_size fused_add_norm pad_vocab_size_multiple ssm_cfg
"""


def table(rows: dict[str, str], *, bias: bool, conv_bias: bool) -> WeightTable:
    """The weight table of a model whose mixers have these tensors (our name, theirs), and biases or not."""
    if bias:
        rows = rows | {"input.bias": "in_proj.bias", "output.bias": "out_proj.bias"}
    if conv_bias:
        rows = rows | {"convolution.bias": "conv1d.bias"}
    layer = "backbone.layers.{layer}"
    return WeightTable(
        (
            Row("token_embedding.weight", "backbone.embeddings.weight"),
            Row("blocks.{layer}.norm.weight", f"{layer}.norm.weight"),
            *(Row(f"blocks.{{layer}}.{ours}", f"{layer}.mixer.{theirs}") for ours, theirs in rows.items()),
            Row("final_norm.weight", "backbone.norm_f.weight"),
        ),
        head=Row("head.weight", "lm_head.weight"),
        prefix="backbone.",
    )


def sizes_from(settings: ForeignConfig, *, d_state: int, tied: bool) -> dict[str, Any]:
    """The settings both have in a config.json; `d_state` and `tied` are the family's defaults."""
    settings.require("hidden_act", "silu")
    settings.require("rms_norm", True)
    d_model, n_layers = settings.take("hidden_size", ...), settings.take("num_hidden_layers", ...)
    settings.require("d_model", d_model)  # the first training code's names for the same
    settings.require("n_layer", n_layers)
    return {
        "vocab_size": settings.take("vocab_size", ...),
        "context_length": settings.take("max_position_embeddings", TRAINED_ON),
        "d_model": d_model,
        "expand": settings.take("expand", 2),
        "n_layers": n_layers,
        "d_state": settings.take("state_size", d_state),
        "d_conv": settings.take("conv_kernel", 4),
        "bias": settings.take("use_bias", False),
        "conv_bias": settings.take("use_conv_bias", True),
        "residual_in_fp32": settings.take("residual_in_fp32", True),
        "tie_embeddings": settings.take("tie_word_embeddings", tied),
        "norm_eps": settings.take("layer_norm_epsilon", 1e-5),
        "bos_id": settings.take("bos_token_id"),
        "eos_ids": eos_ids(settings.take("eos_token_id")),
        "pad_id": settings.take("pad_token_id"),
    }


def sizes_to(config: MambaConfig) -> dict[str, Any]:
    """The inverse of `sizes_from`. The context's length is ours alone; transformers carries it along unread."""
    return {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "hidden_size": config.d_model,
        "expand": config.expand,
        "num_hidden_layers": config.n_layers,
        "state_size": config.d_state,
        "conv_kernel": config.d_conv,
        "hidden_act": "silu",
        "use_bias": config.bias,
        "use_conv_bias": config.conv_bias,
        "residual_in_fp32": config.residual_in_fp32,
        "tie_word_embeddings": config.tie_embeddings,
        "layer_norm_epsilon": config.norm_eps,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos_value(config.eos_ids),
        "pad_token_id": config.pad_id,
    }
