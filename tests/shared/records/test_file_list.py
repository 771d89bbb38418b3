import subprocess

import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file
from components.shared.records.file_list import (
    FILE_LIST,
    difference,
    folder_digest,
    write_file_list,
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "openvino").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "openvino" / "model.xml").write_text("<net/>")
    return folder


def test_the_list_is_what_sha256sum_checks_and_names_no_place(folder, tmp_path):
    digest = write_file_list(folder)
    assert digest == folder_digest(folder) == sha256_of_file(folder / FILE_LIST)
    done = subprocess.run(["sha256sum", "--check", FILE_LIST], cwd=folder, capture_output=True)
    assert done.returncode == 0
    assert done.stdout == b"model.safetensors: OK\nopenvino/model.xml: OK\n"
    folder.rename(tmp_path / "elsewhere")
    assert difference(tmp_path / "elsewhere", digest) == ""


CHANGES = {
    "openvino/model.xml was changed": lambda folder: (folder / "openvino/model.xml").write_text(""),
    "openvino/model.xml is missing": lambda folder: (folder / "openvino/model.xml").unlink(),
    "openvino/more was added": lambda folder: (folder / "openvino/more").touch(),
    f"{FILE_LIST} was changed": write_file_list,
}


@pytest.mark.parametrize("said", CHANGES)
def test_a_change_is_named(folder, said):
    digest = write_file_list(folder)
    if FILE_LIST in said:
        (folder / "model.safetensors").write_bytes(b"others")
    CHANGES[said](folder)
    assert difference(folder, digest) == said


def test_a_folder_without_a_list_is_known_by_its_digest_alone(folder):
    digest = folder_digest(folder)
    assert difference(folder) == difference(folder, digest) == ""
    (folder / "model.safetensors").write_bytes(b"others")
    assert difference(folder) == ""
    assert difference(folder, digest) == f"{FILE_LIST} is missing or another file was changed"


def test_what_earlier_releases_kept_is_the_digest_of_the_weights(folder):
    of_weights = sha256_of_file(folder / "model.safetensors")
    assert difference(folder, of_weights) == ""
    write_file_list(folder)
    assert difference(folder, of_weights) == ""
    (folder / "openvino/model.xml").write_text("")
    assert difference(folder, of_weights) == "openvino/model.xml was changed"


def test_mlflows_own_note_is_no_change_and_a_link_is_refused(folder):
    digest = write_file_list(folder)
    (folder / "registered_model_meta").write_text("model_name: reviews\n")
    assert difference(folder, digest) == ""
    (folder / "link").symlink_to(folder / "openvino")
    with pytest.raises(UserError, match="link is not a plain file"):
        difference(folder, digest)
