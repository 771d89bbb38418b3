import socket
from argparse import ArgumentTypeError

import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.ports import free_port, port_number


@pytest.mark.parametrize("text", ["65536", "99999999999", "-1", "", "http", "80.5", "٨٠"])
def test_what_is_no_port_is_said(text):
    with pytest.raises(ArgumentTypeError, match="is not a port; give a number from 0 to 65535"):
        port_number(text)
    assert (port_number("0"), port_number("65535")) == (0, 65535)


def test_a_taken_port_is_said_and_0_takes_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}"):
            free_port("127.0.0.1", port)
        assert free_port("127.0.0.1", 0) not in (0, port)
