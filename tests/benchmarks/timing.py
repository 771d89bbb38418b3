"""What the benchmarks share: the machine in words, time, memory, turns and comparisons."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

Figures = dict[str, Any]


def machine():
    """The CPU's name, whether it multiplies bf16, how many there are, and how busy they are."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in text]
    return (
        f"machine: {names[0] if names else platform.machine()} ({', '.join(flags) or 'no bf16'}), "
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )


def timed(work):
    """Wall and CPU seconds (all threads) of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def memory_mib(which="VmHWM", process="self"):
    """Peak memory of a process, or with `VmRSS` what it has now.

    Not `ru_maxrss`, which a child inherits from its parent.
    """
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{which}:")[1].split()[0]) / 1024


def in_own_process(script, *words):
    """What a script prints as JSON in its last line; so its peak memory is that of this alone."""
    command = [sys.executable, script, *map(str, words)]
    written = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True)
    return json.loads(written.splitlines()[-1])


def in_turns(ways, turns):
    """All that was measured, after each turn: each way once, so that a busy moment hits all."""
    found: dict[str, list[Figures]] = {name: [] for name in ways}
    for turn in range(turns):
        for name, way in ways.items():
            found[name].append(way(turn))
        yield found


def medians(found, warm=0):
    """Median of each figure over the turns of each way, without so many first ones."""
    return {
        name: {figure: median(turn[figure] for turn in turns[warm:]) for figure in turns[0]}
        for name, turns in found.items()
    }


def print_compared(columns):
    """Two columns of figures, and the ratio of the second to the first."""
    (first, before), (second, after) = columns.items()
    print(f"{'':24}{first:>12}{second:>12}{'ratio':>8}")
    for name, value in before.items():
        print(f"{name:24}{value:12,.1f}{after[name]:12,.1f}{after[name] / value:8.2f}")
