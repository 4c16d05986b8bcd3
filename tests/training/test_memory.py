"""Memory that a step frees stays with the process, where malloc can be asked to keep it."""

import subprocess
import sys

import pytest

RESIDENT_AFTER_FREEING = """
import sys, psutil, torch
from groundup.training.memory import give_back_freed_memory, keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] != "give back" else True
resident = psutil.Process().memory_info
before = resident().rss
block = torch.ones(8_000_000)  # 32 MB
full = resident().rss
del block
if sys.argv[1] == "keep, then give back":
    give_back_freed_memory()
print(int(kept), full - before, resident().rss - before)
"""


def resident_bytes(choice: str) -> tuple[bool, int, int]:
    """(whether malloc agreed, bytes while a block is held, bytes after it is freed), over those before."""
    code = [sys.executable, "-c", RESIDENT_AFTER_FREEING, choice]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    kept, held, left = map(int, done.stdout.split())
    return bool(kept), held, left


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc's malloc can be asked")
def test_a_freed_block_stays_with_the_process():
    kept, held, left = resident_bytes("keep")
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert held > 30e6
    assert left > 30e6
    for choice in ("give back", "keep, then give back"):
        _, held, left = resident_bytes(choice)
        assert held > 30e6
        assert left < 10e6, choice
