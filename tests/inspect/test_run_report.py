"""The report stands on its own, tells what the folder holds, and works at every stage of a run."""

import re

import pytest

from groundup.core.config import Config
from groundup.core.runs import (
    CostSummary,
    DataSummary,
    Forecast,
    RunFolder,
    RunSummary,
    SourceSummary,
    SplitSummary,
    TokenizerSummary,
)
from groundup.inspect.run_report import merged_rows, report_html, write_report

EVIL = "</script><script>alert('x')</script>"


class Settings(Config):
    title: str = EVIL


@pytest.fixture
def run(tmp_path):
    with RunFolder.create(tmp_path / "mine", Settings(), ["groundup", "pretrain", EVIL]) as run:
        yield run


def log_steps(run, n_steps):
    for step in range(1, n_steps + 1):
        run.log(
            {"step": step, "tokens": 512 * step, "train_loss": 5.0 / step, "learning_rate": 0.01, "gradient_norm": 1.0}
            | {"tokens_per_second": 1000.0 + step, "mfu": 0.5, "elapsed_seconds": 0.5 * step}
        )
        if step % 5 == 0:
            run.log({"step": step, "val_loss": 6.0 / step, "val_bits_per_byte": 2.0 / step})


def test_a_run_that_has_only_begun(run):
    html = report_html(run)
    assert "<h1>mine</h1>" in html
    assert "Nothing has been measured yet" in html
    assert "<svg" not in html
    assert "<h2>Settings</h2>" in html


def test_a_run_in_progress(run):
    log_steps(run, 7)
    html = write_report(RunFolder.open(run.path)).read_text()
    assert "running, step 7" in html
    assert "<b>0.400</b><span>validation bits per byte</span>" in html
    assert "<b>3,584</b><span>tokens trained on</span>" in html
    assert "<b>1,004</b><span>tokens per second (median)</span>" in html
    assert "<b>50%</b>" in html
    assert html.count("<svg") == 8


def test_one_row_and_unmeasurable_numbers(run):
    run.log({"step": 1, "train_loss": float("nan"), "elapsed_seconds": 1.0})
    html = report_html(run)
    assert "step 1" in html
    assert "<svg" not in html


def test_a_finished_run(run):
    log_steps(run, 10)
    for step, text in ((0, "zzz"), (5, "halfway"), (10, " lived a king")):
        run.log_sample(step, "Once", text)
    run.write_summary(
        RunSummary(
            title="tales",
            status="finished",
            architecture="qwen3",
            n_parameters=1_234_567,
            model={"n_layers": 2, "rope": {"theta": 10000}},
            tokenizer=TokenizerSummary("bpe", 8192, 3.912, "ab" * 32, ((5, "<b>"), (6, " x"))),
            data=DataSummary(
                tuple(SourceSummary(f"text {n}", 1000, "cd" * 32) for n in range(40)),
                {"train": SplitSummary(3, 12_345, 50_000)},
            ),
            cost=CostSummary(training_seconds=75.0, n_tokens=5_000_000, flops=3.2e15, peak_memory_bytes=1_300_000_000),
            val_loss=1.5,
            forecasts=(Forecast("time", 60.0, 75.0, "seconds"), Forecast("loss", None, 1.5)),
            checks={"largest difference": "3.1e-06"},
            next_commands=('groundup generate runs/tales "Once"',),
        )
    )
    html = report_html(run)
    for expected in (
        "qwen3 · 1.23 million parameters",
        "before training",
        "after 10 steps",
        "<b>Once</b> lived a king",
        "1 in between",
        "<b>1.500</b><span>validation loss",
        "<b>1 min 15 s</b>",
        "+25.0%",
        "3.2 quadrillion FLOPs",
        "&lt;b&gt;",
        "<code>8,192</code>",
        "12,345",
        "10 more",
        "rope.theta",
        "3.1e-06",
        "groundup generate runs/tales &quot;Once&quot;",
    ):
        assert expected in html, expected


def test_evil_text_everywhere_is_escaped(run):
    run.log({"step": 1, "train_loss": 1.0})
    run.log_sample(1, EVIL, EVIL)
    run.write_summary(
        RunSummary(
            *(EVIL, EVIL, EVIL),
            model={EVIL: EVIL},
            tokenizer=TokenizerSummary(EVIL, 3, 1.0, EVIL, ((1, EVIL),)),
            data=DataSummary((SourceSummary(EVIL, 1, EVIL),), {EVIL: SplitSummary()}, EVIL),
            forecasts=(Forecast(EVIL, 1.0, 1.0, EVIL),),
            checks={EVIL: EVIL},
            notes=(EVIL,),
            next_commands=(EVIL,),
        )
    )
    html = report_html(run)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 15


def test_nothing_is_fetched(run):
    log_steps(run, 5)
    html = report_html(run)
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", html)
    assert "url(http" not in html
    assert "@import" not in html
    assert "http" not in html.replace("http://www.w3.org", "")


def test_rows_of_a_step_are_one():
    rows = [{"step": 2, "a": 1}, {"step": 1, "a": 0, "b": None}, {"step": 2, "b": 3}]
    assert merged_rows(rows) == [{"step": 1, "a": 0}, {"step": 2, "a": 1, "b": 3}]
