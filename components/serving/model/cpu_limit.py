"""How many cores this process may really use: the container's limit, not the node's size."""

import math
import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def cpu_limit(v2: Path = _CGROUP_V2, v1: Path = _CGROUP_V1) -> int:
    """Whole cores that the scheduler and the container's CPU limit leave to this process.

    Args:
        v2: File of the limit in control groups version 2: quota and period in microseconds.
        v1: Folder with the same two figures in version 1.

    Returns:
        At least 1; a limit of 1.5 cores gives 2, so that no half of a core is left idle.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(v2, v1)
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def _quota(v2: Path, v1: Path) -> float:
    """Cores by the control group's quota; 0 where there is none."""
    try:
        quota, period = v2.read_text().split()
    except (OSError, ValueError):
        try:
            quota = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 0.0
    if quota == "max" or int(quota) <= 0:
        return 0.0
    return int(quota) / int(period)
