"""The signature of a version's files by OpenSSF's model-signing, with a key of one's own.

`model.sig` is written at registration, before the list of files, which covers it too. It says who
made the files; that they are those of this very version is what the registry's digest says.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.errors import UserError
from components.shared.records.file_list import FILE_LIST

if TYPE_CHECKING:
    from model_signing.hashing import Config

SIGNATURE = "model.sig"


def sign_folder(folder: Path, private_key: str) -> None:
    """Sign all files of a folder with an elliptic-curve key (PEM), whose path is given."""
    _check_key(private_key, "SIGNING_KEY")
    hashing = _hashing()
    from model_signing import signing

    config = signing.Config().use_elliptic_key_signer(private_key=private_key)
    config.set_hashing_config(hashing).sign(folder, folder / SIGNATURE)


def check_signature(folder: str | Path, public_key: str, called: str = "") -> None:
    """Refuse a folder that the owner of a key (PEM, by its path) has not signed as it is.

    Errors call the folder so; by its path if that is empty.
    """
    _check_key(public_key, "the key of the signature")
    folder, hashing = Path(folder), _hashing()
    called = called or str(folder)
    if not (folder / SIGNATURE).is_file():
        raise UserError(
            f"{called} is not signed, and a signature is asked for; register the model again with "
            "SIGNING_KEY"
        )
    from model_signing import verifying

    config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    try:
        config.set_hashing_config(hashing).verify(folder, folder / SIGNATURE)
    except Exception as error:  # The library lets errors of several others through.
        reason = " ".join(str(error).split())[:300] or repr(error)
        raise UserError(
            f"{called} is not what the owner of {public_key} signed ({reason}); fetch the version "
            "again, or name the key that it was signed with"
        ) from None


def _hashing() -> "Config":
    """What is signed: every file but the signature and the list, which is written after it."""
    try:
        from model_signing import hashing
    except ImportError as error:
        raise UserError(
            f"signatures need a package that is not installed ({error.name}); install this "
            "project's extra `signing`"
        ) from None
    return hashing.Config().set_ignored_paths(paths=[SIGNATURE, FILE_LIST], ignore_git_paths=False)


def _check_key(path: str, called: str) -> None:
    if not Path(path).is_file():
        raise UserError(f"{called} is {path}, which is not a file; give the path of a PEM file")
