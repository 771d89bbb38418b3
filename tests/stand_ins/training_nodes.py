"""The nodes of a training, started as Kubeflow Trainer starts them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Node:
    """A node's process and the workers that torchrun starts in it."""

    def __init__(self, command: list[str], number: int, nodes: int, ranks: int, port: int) -> None:
        launch = {
            **{"PET_NNODES": nodes, "PET_NPROC_PER_NODE": ranks, "PET_NODE_RANK": number},
            **{"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": port, "OMP_NUM_THREADS": 1},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, **{name: str(value) for name, value in launch.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def workers(self) -> dict[int, int]:
        """Process id of each rank on this node."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found = {}
        for child in children:
            variables = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
            found |= {int(v[5:]): int(child) for v in variables if v.startswith("RANK=")}
        return found

    def after_evaluations(self, count: int) -> None:
        """Read the metrics until so many evaluations were printed."""
        for line in self.process.stdout:
            count -= "macro_f1=" in line
            if not count:
                return
        pytest.fail(f"training ended too soon:\n{self.process.stderr.read()}")

    def ended(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, when it has ended."""
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def kill_all(self) -> None:
        """SIGKILL to torchrun and its workers."""
        for pid in (self.process.pid, *self.workers().values()):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def started(*commands: list[str], ranks: int) -> Iterator[list[Node]]:
    """A process for each command of a module, as the nodes of one job; none is left behind."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    try:
        for number, command in enumerate(commands):
            nodes.append(Node(command, number, len(commands), ranks, port))
        yield nodes
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.kill_all()
            node.process.communicate()
