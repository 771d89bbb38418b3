"""What the benchmarks share: the machine in words, time and memory."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path


def machine() -> str:
    """The CPU's name, whether it multiplies bf16, how many there are, and how busy they are."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in text]
    return (
        f"machine: {names[0] if names else platform.machine()} ({', '.join(flags) or 'no bf16'}), "
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds (all threads) of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def memory_mib(which: str = "VmHWM", process: int | str = "self") -> float:
    """Peak memory of a process, or with `VmRSS` what it has now.

    Not `ru_maxrss`, which a child inherits from its parent.
    """
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{which}:")[1].split()[0]) / 1024
