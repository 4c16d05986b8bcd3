"""Preparation on a slurm cluster: datatrove's own executor and job scripts, run by two workers that play the cluster."""

from __future__ import annotations

import json
import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError, MissingExtraError
from groundup.data import cluster, tasks
from groundup.data.prepare import prepare, prepare_on_cluster
from groundup.data.store import TokenStore
from groundup.data.tokenizer_training import train_tokenizer
from groundup.tokenization.tokenizer import Tokenizer

from .conftest import Listening

SBATCH = """
    #!{python}
    import os, re, subprocess, sys
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    state = Path({state!r})
    number = len(list(state.glob("job-*")))
    script = Path(sys.argv[-1]).read_text()
    (state / f"job-{{number}}").write_text(" ".join(sys.argv[1:-1]) + chr(10) + script)
    needed = re.search(r"--dependency=afterok:(\\d+)", " ".join(sys.argv))
    n_tasks = int(re.search(r"--array=0-(\\d+)", script)[1]) + 1
    def run(k):
        slurm = {{"SLURM_ARRAY_TASK_ID": str(k), "SLURM_NODELIST": "here", "SLURM_JOB_ID": str(number), "RUN_OFFSET": "0"}}
        log = open(state / f"log-{{number}}-{{k}}", "w")
        return subprocess.run(["bash", "-c", script], env=os.environ | slurm, stdout=log, stderr=log).returncode
    failed = needed and (state / f"failed-{{needed[1]}}").exists()
    if not failed and "merge_stats" not in script:
        with ThreadPoolExecutor(2) as threads:
            failed = any(list(threads.map(run, range(n_tasks))))
    if failed:
        (state / f"failed-{{number}}").touch()
    print("Submitted batch job", number)
"""
COMMANDS = {
    "sbatch": SBATCH,
    "srun": '#!/bin/bash\nwhile [[ $1 != launch_pickled_pipeline ]]; do shift; done; exec "$@"\n',
    "scontrol": '#!/bin/bash\necho "$3"\n',
    "squeue": "#!/bin/bash\ncat {state}/queued 2>/dev/null || true\n",
}
SLURM = {"partition": "cpu", "time": "01:00:00"}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch) -> Path:
    """A folder of what the cluster was asked; its commands are on the path."""
    pytest.importorskip("datatrove")
    state, commands = tmp_path / "state", tmp_path / "commands"
    state.mkdir()
    commands.mkdir()
    for name, text in COMMANDS.items():
        command = commands / name
        command.write_text(textwrap.dedent(text).lstrip().format(python=sys.executable, state=str(state)))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    root = str(Path(cluster.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", root, prepend=os.pathsep)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setattr(tasks, "TASK_BYTES", (1, 6000))
    return state


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for k in range(3):
        rows = [{"text": f"document {k} {i}: " + "some words, and others " * (i % 7)} for i in range(60)]
        (folder / f"{k}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def tokenizer(corpus: Path) -> Tokenizer:
    return train_tokenizer(corpus, vocab_size=280)


def content(folder: Path, *besides: str) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: data for name, data in files.items() if not name.startswith(besides or "?")}


def jobs(state: Path) -> list[str]:
    """The job scripts, but for those that only add statistics up."""
    scripts = [(state / f"job-{k}").read_text() for k in range(len(list(state.glob("job-*"))))]
    return [script for script in scripts if "merge_stats" not in script]


def test_two_workers_of_a_cluster_write_the_bytes_of_one_stream(
    slurm: Path, corpus: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, reporter = tmp_path / "data", Listening()
    settings = SLURM | {"mem_per_cpu_gb": "3", "account": "ours"}
    found = prepare_on_cluster(
        "corpus", tokenizer, "data", settings, n_workers=2, tokens_per_shard=900, reporter=reporter
    )
    assert found is None
    prepare("corpus", tokenizer, tmp_path / "one", tokens_per_shard=900)
    assert len(list(out.glob("train-*.tokens"))) >= 5
    assert content(out, "slurm/") == content(tmp_path / "one")

    scripts = jobs(slurm)
    assert ["--array=0-2%2" in script for script in scripts] == [True, False, True, False]
    assert [line.split(",")[0] for line in reporter.said if line.startswith("submitted")] == [
        f"submitted   {stage}" for stage in ("survey", "settle", "encode", "assemble")
    ]
    for line in ("partition=cpu", "time=01:00:00", "mem-per-cpu=3G", "account=ours", "kill-on-invalid-dep=yes"):
        assert all(f"#SBATCH --{line}\n" in script for script in scripts)
    assert all("qos" not in script for script in scripts)

    store = prepare_on_cluster("corpus", tokenizer, "data", settings, tokens_per_shard=900, reporter=reporter)
    assert store is not None and store.split("train").n_tokens > 3000
    assert len(jobs(slurm)) == 4


def test_what_failed_is_told_and_only_the_missing_is_done_again(
    slurm: Path, corpus: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "data"
    unseen, away, sbatch = corpus / "1.jsonl", tmp_path / "away", tmp_path / "commands/sbatch"
    text = sbatch.read_text()
    hide = f"import os; os.path.exists({str(unseen)!r}) and os.rename({str(unseen)!r}, {str(away)!r})\nimport os,"
    sbatch.write_text(text.replace("import os,", hide))  # a file that the machines do not see
    prepare_on_cluster(corpus, tokenizer, out, SLURM)
    assert len(jobs(slurm)) == 4 and not (out / "manifest.json").exists()
    with pytest.raises(GroundupError, match=r"in part|no manifest"):
        TokenStore.open(out)

    sbatch.write_text(text)
    os.rename(away, unseen)
    reporter = Listening()
    prepare_on_cluster(corpus, tokenizer, out, SLURM, reporter=reporter)
    assert len(reporter.warned) == 1 and "1.jsonl" in reporter.warned[0]
    assert "#SBATCH --array=0-0\n" in jobs(slurm)[4]  # of three surveys, one
    prepare(corpus, tokenizer, tmp_path / "one")
    assert content(out, "slurm/") == content(tmp_path / "one")


def test_what_is_in_the_queue_is_not_submitted_again(
    slurm: Path, corpus: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sbatch = tmp_path / "commands/sbatch"
    sbatch.write_text(sbatch.read_text().replace("if not failed and", "if False and"))
    prepare_on_cluster(corpus, tokenizer, tmp_path / "data", SLURM)
    (slurm / "queued").write_text("0 cpu groundup-survey\n")
    reporter = Listening()
    assert prepare_on_cluster(corpus, tokenizer, tmp_path / "data", SLURM, reporter=reporter) is None
    assert reporter.said[1:] == ["survey      0 of 3 tasks finished", "encode      0 of 3 tasks finished"]
    assert len(jobs(slurm)) == 4
    (slurm / "queued").unlink()
    prepare_on_cluster(corpus, tokenizer, tmp_path / "data", SLURM)
    assert len(jobs(slurm)) == 8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"partition": "cpu"}, "slurm needs time"),
        ({}, "slurm needs partition and time"),
        (SLURM | {"mem_per_cpu_gb": "much"}, "mem_per_cpu_gb is 'much'"),
    ],
)
def test_settings_that_cannot_be(slurm, corpus, tokenizer, tmp_path: Path, settings: dict, words: str) -> None:
    with pytest.raises(GroundupError, match=words):
        prepare_on_cluster(corpus, tokenizer, tmp_path / "data", settings)


def test_where_there_is_no_slurm(corpus, tokenizer, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("datatrove")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GroundupError, match="sbatch is not here"):
        prepare_on_cluster(corpus, tokenizer, tmp_path / "data", SLURM)
    assert not (tmp_path / "data").exists()


def test_a_job_that_the_cluster_refuses(slurm, corpus, tokenizer, tmp_path: Path) -> None:
    (tmp_path / "commands/sbatch").write_text("#!/bin/bash\nexit 3\n")
    with pytest.raises(GroundupError, match=r"refused the job of stage survey \(code 3"):
        prepare_on_cluster(corpus, tokenizer, tmp_path / "data", SLURM)


def test_without_the_extra(corpus, tokenizer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datatrove.executor.slurm", None)
    with pytest.raises(MissingExtraError, match=r"datatrove.*groundup\[scale\]"):
        prepare_on_cluster(corpus, tokenizer, tmp_path / "data", SLURM)
