"""`groundup data prepare`: text to a token store."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, key_values, shell
from groundup.cli._reading import reading_options


@click.command(short_help="Turn text into tokens on disk.")
@click.argument("text", nargs=-1, required=True, type=NAME)
@click.option("--tokenizer", "tokenizer_name", required=True, help="Tokenizer folder, vocabulary file or hub model.")
@click.option("--out", required=True, type=PATH, help="Folder for the tokens.")
@reading_options
@click.option(
    "--validation-fraction", type=float, help="Share kept for validation; a tenth, at most 20 MB, if left out."
)
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; all cores if left out.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Processes that share the files among them, --threads each (1 then).",
)
@click.option(
    "--slurm",
    multiple=True,
    metavar="KEY=VALUE",
    help="Prepare on a slurm cluster: partition=NAME, time=HH:MM:SS, mem_per_cpu_gb=N, and anything sbatch knows.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the split.")
def command(text, tokenizer_name, out, reading, validation_fraction, threads, workers, slurm, seed) -> None:
    """Encode TEXT into a token store.

    TEXT is files and folders of .txt .md .html .pdf .docx .jsonl .json .csv .tsv .parquet .arrow (packed or in a .zip too), places
    like s3://bucket/folder, datasets like hf:organisation/name; or token files of nanoGPT and llm.c (train.bin val.bin).

    Interrupted, run the same command again: it goes on. Run on the same text, it finds its work done.

    With many cores, --workers shares many files among processes: one alone reads some 40 MB of short rows a second, whatever
    its --threads. With --slurm (extra groundup[scale]) a cluster prepares them: the work is queued, and the same command
    tells how far it is. The tokens are the same to the byte.
    """
    from groundup.checkpoints.tokenizer_folder import open_tokenizer
    from groundup.core.progress import Terminal
    from groundup.data.prepare import prepare, prepare_on_cluster
    from groundup.data.reading import Reading

    reporter = Terminal()
    tokenizer = open_tokenizer(tokenizer_name, reporter=reporter)
    if slurm:
        store = prepare_on_cluster(
            text,
            tokenizer,
            out,
            key_values("--slurm", slurm),
            reading=Reading(**reading),
            validation_fraction=validation_fraction,
            n_threads=threads or 1,
            n_workers=workers or -1,
            seed=seed,
            reporter=reporter,
        )
        if store is None:
            reporter.say("next        the same command again: it tells how far the work is")
            return
    else:
        store = prepare(
            text,
            tokenizer,
            out,
            validation_fraction=validation_fraction,
            **reading,
            n_threads=threads,
            n_workers=workers,
            seed=seed,
            reporter=reporter,
        )
    from groundup.data.remarks import documents

    for name in ("train", "validation"):
        split = store.split(name)
        reporter.say(
            f"{name:<11} {split.n_tokens:,} tokens in {documents(split.n_documents)}, {split.n_bytes:,} bytes of text"
        )
    reporter.say(f"data        {out}")
    reporter.say(f"next        groundup data show {shell(out)}")
    reporter.say(f"            groundup pretrain {shell(out)} --out runs/mine --time 10m")
