"""Is a registered version still what was registered, and who signed it?"""

import tempfile
from pathlib import Path

from components.registry.versions import download_model, version_by
from components.shared.machine.tracking import errors_in_words, tracking_client
from components.shared.records.file_list import FILE_LIST, folder_digest
from components.shared.records.signature import SIGNATURE, check_signature


def verify_version(model_name: str, version: str, public_key: str = "") -> str:
    """Fetch a version, compare its files with the registry's digest, and check the signature.

    Returns:
        What was found, in one sentence.

    Raises:
        UserError: If there is no such version, a file differs, or a key is given and its owner has
            not signed the files.
    """
    client = tracking_client()
    with tempfile.TemporaryDirectory() as workshop, errors_in_words():
        folder, found = Path(workshop) / "model", version_by(client, model_name, version)
        download_model(client, found, folder)
        if public_key:
            check_signature(folder, public_key, f"version {found.version} of {model_name}")
            signed = f"signed by the owner of {public_key}"
        elif (folder / SIGNATURE).is_file():
            signed = "signed, by whom was not checked: name the public key"
        else:
            signed = "not signed"
        lists = (folder / FILE_LIST).is_file()
        covers = (
            f"its files are those of digest {folder_digest(folder)[:12]}"
            if lists
            else ("its weights are those that were registered, its other files have no digest")
        )
        return f"version {found.version} of {model_name}: {covers}; {signed}"
