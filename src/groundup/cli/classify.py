"""`groundup classify`: labels for texts."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(short_help="Label texts with a classifier.")
@click.argument("run")
@click.argument("texts", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="File for the labels: .csv, .tsv or .jsonl.")
@click.option("--text-field", metavar="NAME", help="The column of a file that holds the texts.")
@click.option("--encoding", help="Encoding of the file; UTF-8 or detected if left out.")
@click.option(
    "--threshold", type=float, help="Probability from which on a label applies, where a text may have several."
)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def command(run, texts, out, text_field, encoding, threshold, precision, device) -> None:
    """Label each of TEXTS with the classifier in RUN; or the rows of one file (csv, tsv, jsonl, parquet; a text file has a text
    a line), which come back with columns for the label, its confidence and the probability of each class. Without TEXTS,
    lines are read from the standard input.
    """
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Terminal
    from groundup.generation.classified_files import classify_file
    from groundup.generation.text_classifier import load_classifier

    is_file = len(texts) == 1 and Path(texts[0]).is_file()
    if not is_file:
        useless = {"--out": out, "--text-field": text_field, "--encoding": encoding}
        for name, value in useless.items():
            if value is not None:
                looks = f"; there is no file {texts[0]}" if len(texts) == 1 else ""
                raise GroundupError(f"{name} {value} has no effect: no file of texts was given{looks}")
    if not texts and sys.stdin.isatty():
        raise GroundupError("there is nothing to classify; give texts, a file of them, or lines on the standard input")
    classifier = load_classifier(run, precision=precision, device=device, threshold=threshold)
    if is_file:
        done = classify_file(
            classifier, texts[0], out or sys.stdout, text_field=text_field, encoding=encoding, reporter=Terminal()
        )
        counts = ", ".join(f"{count:,} {label or 'without a label'}" for label, count in sorted(done.counts.items()))
        for n, what in (
            (done.n_empty, "without text, left without a label"),
            (done.n_rejected, "that cannot be read, left out"),
        ):
            if n:
                click.echo(f"note: {n:,} row{'s' * (n > 1)} {what}", err=True)
        click.echo(f"{done.n_rows:,} rows: {counts}" + (f"; written to {out}" if out else ""), err=out is None)
    else:
        lines = texts or (line.rstrip("\n") for line in sys.stdin if line.strip())
        for answer in classifier.stream(lines):
            others = sorted(answer.probabilities.items(), key=lambda each: -each[1])[:10]
            shown = "  ".join(f"{label} {probability:.3f}" for label, probability in others)
            click.echo(f"{answer.label or '(none)'}\t{answer.confidence:.3f}\t{shown}")
    if classifier.n_cut:
        keep, length = classifier.settings.keep, classifier.settings.context_length
        texts_are = "1 text is" if classifier.n_cut == 1 else f"{classifier.n_cut:,} texts are"
        click.echo(f"note: {texts_are} longer than {length} tokens; only the {keep} was read", err=True)
