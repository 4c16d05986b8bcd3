"""The machine under the work: which device, how fast it multiplies, how much memory it has, what could be added to it.

The one idea: a speed is believed only when it was measured here. `measure_ceiling` times large matrix products, and
every "share of the machine used" is a share of that figure (MFU: Chowdhery et al. 2022, PaLM, appendix B).
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import readable_bytes

if TYPE_CHECKING:
    import torch


def pick_device(name: str = "auto") -> str:
    """The torch device to work on: `auto` is the first CUDA GPU when there is one, otherwise the CPU.

    Raises `GroundupError` for an unknown name and for a device this machine does not have. Apple's `mps` is used when
    asked for by name only: nobody has measured it here yet.
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        raise unknown_name("device", name, ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps"))
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        return "cuda" if n_gpus else "cpu"
    if kind == "cuda" and int(index or 0) >= n_gpus:
        raise GroundupError(f"device {name!r} is not on this machine (CUDA GPUs found: {n_gpus}); use --device auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise GroundupError("device 'mps' needs a Mac with Apple silicon; use --device auto")
    return name


def machine_info() -> dict[str, Any]:
    """What a figure measured here depends on: hardware, threads, versions, commit. No names of people or hosts."""
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "cpu": _cpu_name(),
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": n_cores(),
        "memory_bytes": total_memory_bytes(),
        "gpu": [torch.cuda.get_device_name(index) for index in range(n_gpus)],
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": _version("numpy"),
        "tokenizers": _version("tokenizers"),
        "groundup": _version("groundup"),
        "commit": _commit(),
    }


def n_cores() -> int:
    """How many processor threads this process may use, which in a container is fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def measure_ceiling(device: str, dtype: torch.dtype) -> float:
    """The FLOP/s this device reaches on a large square matrix product in `dtype`: the best of several.

    Takes about half a second and is measured once a process. The size doubles until one product takes long enough to
    time well, so slow machines are not kept waiting.
    """
    n, largest = 512, 2048 if device == "cpu" else 8192
    seconds = _fastest_product(n, device, dtype)
    while n < largest and seconds * 8 < 0.15:
        n *= 2
        seconds = _fastest_product(n, device, dtype)
    return 2.0 * n**3 / seconds


def _fastest_product(n: int, device: str, dtype: torch.dtype) -> float:
    """Seconds of the fastest product of two n x n matrices within 0.15 seconds, and of three at least."""
    import torch

    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(a)
    seconds = []
    while len(seconds) < 3 or sum(seconds) < 0.15:  # the first also starts threads and kernels; others may be disturbed
        start = time.perf_counter()
        torch.mm(a, b, out=product)
        product[-1, -1].item()  # reading an element waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def total_memory_bytes() -> int:
    """Bytes of main memory this process may use at most: the machine's, or its container's limit."""
    return min(psutil.virtual_memory().total, _container_limit() or 1 << 62)


def free_memory_bytes(device: str = "cpu") -> int:
    """Bytes that can still be allocated on `device` without swapping (a container's limit counted)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0]
    available = psutil.virtual_memory().available
    limit = _container_limit()
    if limit is not None:
        used = Path("/sys/fs/cgroup/memory.current").read_text()
        available = min(available, max(0, limit - int(used) + _reclaimable()))
    return available


def _container_limit() -> int | None:
    """The memory limit of the control group this process runs in (Linux, version 2), or None."""
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no such file, or the word "max"
        return None


def _reclaimable() -> int:
    """File cache charged to the control group: the kernel gives it back before it refuses memory."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))
    except OSError:
        return 0


def peak_memory_bytes(device: str = "cpu") -> int:
    """The most bytes this process has held at once: resident memory, or what torch allocated on a GPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would report the parent's peak when this process was forked from a larger one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


@dataclass(frozen=True)
class Check:
    """One line of `groundup doctor`: what was looked for, what was found, what it gains and how to get it."""

    name: str
    ok: bool
    found: str
    gain: str
    get: str = ""


def doctor() -> list[Check]:
    """Look at the machine and at every optional part; measures two ceilings, so it takes about two seconds."""
    import torch

    device = pick_device()
    fp32, bf16 = (measure_ceiling(device, dtype) for dtype in (torch.float32, torch.bfloat16))
    compiler = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
    headers = Path(sysconfig.get_paths()["include"], "Python.h").exists()
    missing = [] if compiler else ["no C++ compiler"]
    missing += [] if headers else ["no Python headers"]
    memory = f"{readable_bytes(free_memory_bytes())} of {readable_bytes(total_memory_bytes())} free"
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no CUDA GPU that torch can see"
    checks = [
        Check("processor", True, f"{_cpu_name()}, {n_cores()} cores, {torch.get_num_threads()} torch threads", ""),
        Check("memory", True, memory, ""),
        Check("torch", True, torch.__version__, ""),
        Check(
            "GPU",
            device == "cuda",
            gpu,
            "10 to 100 times the speed of two cores",
            "a CUDA build of torch from pytorch.org, on a machine with an NVIDIA GPU",
        ),
        Check(
            "bf16 arithmetic",
            bf16 > 1.2 * fp32,
            f"fp32 {fp32 / 1e9:,.0f} GFLOP/s, bf16 {bf16 / 1e9:,.0f} GFLOP/s ({bf16 / fp32:.1f} times)",
            "matrix products 2 times faster or more",
            "a processor with avx512_bf16 or AMX (2021 and later), or a GPU",
        ),
        Check(
            "torch.compile",
            not missing,
            " and ".join(missing) or f"{compiler} and the Python headers",
            "steps up to 1.5 times faster, in runs long enough to repay the compile time",
            "apt install g++ python3-dev (Debian, Ubuntu), xcode-select --install (macOS)",
        ),
    ]
    for library, extra, gain in (
        ("pyarrow", "parquet", "reads .parquet, .arrow and .zst files"),
        ("trafilatura", "formats", "reads web pages"),
        ("lxml_html_clean", "formats", "reads web pages, with trafilatura"),
        ("pypdf", "formats", "reads .pdf files"),
        ("python-docx", "formats", "reads .docx files"),
        ("chardet", "formats", "tells the encoding of text that is not UTF-8"),
        ("ftfy", "clean", "repairs broken characters"),
        ("phonenumbers", "clean", "looks at text and cleans it (data inspect, data clean): finds telephone numbers"),
        ("py3langid", "clean", "tells languages"),
        ("rensa", "clean", "finds near duplicates"),
        (
            "sentencepiece",
            "sentencepiece",
            "cuts text by imported SentencePiece vocabularies",
        ),
        ("protobuf", "sentencepiece", "reads the files of SentencePiece vocabularies"),
        ("scikit-learn", "classify", "the classifier of words that a classifier is compared with"),
        ("bitsandbytes", "int4", "keeps a frozen base in 4 bits while an adapter is trained on it"),
        ("fsspec", "remote", "reads text from other places than disks"),
        ("aiohttp", "remote", "reads text from https:// places"),
        ("s3fs", "remote", "reads text from s3:// places"),
        ("datatrove", "scale", "prepares text on a slurm cluster"),
        ("huggingface_hub", "hub", "opens published models and data sets by their name"),
        ("transformers", "verify", "checks that an exported model gives the same numbers elsewhere"),
        ("gguf", "gguf", "opens and writes GGUF files, llama.cpp's"),
        ("xllamacpp", "gguf", "runs a GGUF file just written in llama.cpp, and compares"),
        ("gigabpe", "fast", "byte-pair tokenizers trained 3 times faster or more, with pyarrow; equal merges"),
        ("gigatoken", "fast", "text encoded 5 times faster or more, with equal ids"),
        ("mamba_ssm", "", "mamba and mamba2 scan by their CUDA kernels on a GPU, instead of chunk by chunk"),
        ("tensorboard", "", "shows the curves of several runs side by side: tensorboard --logdir runs"),
    ):
        found = _is_there(_MODULES.get(library, library))
        get = f"pip install {library}" + (f" (the extra groundup[{extra}] has it)" if extra else "")
        checks.append(Check(library, found, _version(library) if found else "not installed", gain, get))
    return checks


# Where a library is imported by another name.
_MODULES = {"python-docx": "docx", "scikit-learn": "sklearn", "protobuf": "google.protobuf"}


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nothing of the package it would be in
        return False


def _cpu_name() -> str:
    """The processor's own name, or its architecture when the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()


def _commit() -> str | None:
    """The git commit the working directory stands on; None when it is not in a repository."""
    return _output("git", "rev-parse", "--verify", "--quiet", "HEAD") or None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _output(*command: str) -> str:
    """What a small system command prints, or nothing when it is absent or fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
