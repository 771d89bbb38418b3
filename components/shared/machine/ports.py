"""Ports of this machine."""

import socket
from contextlib import closing

from components.shared.machine.errors import UserError


def free_port(host: str, port: int) -> int:
    """The port, if this process may listen on it; a free one for 0; else a `UserError`."""
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host} port {port} ({error.strerror}); give another port"
            ) from None
        free: int = probe.getsockname()[1]
        return free
