"""Ports of this machine."""

import socket
from argparse import ArgumentTypeError
from contextlib import closing

from components.shared.machine.errors import UserError


def port_number(text: str) -> int:
    """For a command line: the port that a text names, 0 for a free one."""
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")
    return int(text)


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
