"""Memory that a step frees stays with the process, where malloc can be asked to keep it."""

import subprocess
import sys

import pytest

PAGE_FAULTS = """
import resource, sys, torch
from groundup.training.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else True
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(4_000_000)  # 16 MB, taken and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


def page_faults(choice: str) -> tuple[bool, int]:
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS, choice], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "1", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc's malloc can be asked")
def test_pages_are_not_taken_anew_at_every_step():
    kept, faults = page_faults("keep")
    if not kept:
        pytest.skip("this C library has no mallopt")
    _, faults_without = page_faults("give back")
    assert faults < 1000
    assert faults_without > 10 * max(1, faults)
