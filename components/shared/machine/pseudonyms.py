"""Pseudonyms: keyed hashes by which the same person is recognised and cannot be named.

A plain hash of an e-mail address or a short text is undone by hashing candidates. This one needs
the key, and whoever deletes the key has cut the pseudonyms off from the people for ever.
"""

import hashlib
import hmac
import os
from pathlib import Path

from components.shared.machine.errors import UserError
from components.shared.machine.secret_file import secret_of
from components.shared.machine.state import state_folder

KEY_VARIABLE = "PSEUDONYM_KEY"
"""Environment variable with the key as text; a cluster sets it from a Secret."""

_FEWEST_CHARACTERS = 16
_DIGITS = 16


def pseudonym_key(state: Path | None = None) -> bytes:
    """The key: of the environment, or else of the state folder, where it is made on first use.

    Args:
        state: State folder; the one of the environment where None.

    Raises:
        UserError: If the key is too short to be one.
    """
    given, where = os.environ.get(KEY_VARIABLE), KEY_VARIABLE
    file = (state or state_folder()) / "secrets" / "pseudonyms.key"
    if not given:
        where = str(file)
        given = secret_of(file)
    if len(given) < _FEWEST_CHARACTERS:
        raise UserError(
            f"the key of the pseudonyms in {where} is shorter than {_FEWEST_CHARACTERS} characters;"
            " restore it, for a new key makes new pseudonyms"
        )
    return given.encode()


def pseudonym(key: bytes, kind: str, name: str) -> str:
    """The pseudonym of a name, in hexadecimal; the same name of another kind has another one."""
    message = f"{kind}\n{name}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:_DIGITS]
