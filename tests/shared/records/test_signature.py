import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.shared.machine.errors import UserError
from components.shared.records.file_list import write_file_list
from components.shared.records.signature import SIGNATURE, check_signature, sign_folder


def key_pair(folder):
    """Paths of a new private key and of its public one."""
    folder.mkdir()
    key, encoding = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "key.pub").write_bytes(key.public_key().public_bytes(encoding, form))
    return str(folder / "key.pem"), str(folder / "key.pub")


@pytest.fixture
def signed(tmp_path):
    """A signed folder, and the public key."""
    folder = tmp_path / "model"
    (folder / "openvino").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "openvino" / "model.xml").write_text("<net/>")
    private, public = key_pair(tmp_path / "ours")
    sign_folder(folder, private)
    write_file_list(folder)
    return folder, public


def test_a_signed_folder_is_let_in_wherever_it_lies(signed, tmp_path):
    folder, public = signed
    check_signature(folder, public)
    folder.rename(tmp_path / "elsewhere")
    check_signature(tmp_path / "elsewhere", public)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "openvino/model.xml").write_text("<Net/>"),
        lambda folder: (folder / "openvino/model.xml").unlink(),
        lambda folder: (folder / "code.py").touch(),
        lambda folder: (folder / SIGNATURE).write_text("{}"),
    ],
)
def test_a_change_after_signing_is_refused(signed, change):
    folder, public = signed
    change(folder)
    with pytest.raises(UserError, match=r"is not what the owner of .*key\.pub signed"):
        check_signature(folder, public)


def test_no_signature_another_key_and_no_key_are_refused(signed, tmp_path):
    folder, public = signed
    _, other = key_pair(tmp_path / "theirs")
    with pytest.raises(UserError, match=r"not what the owner of .*theirs/key\.pub signed"):
        check_signature(folder, other)
    with pytest.raises(UserError, match=r"the key of the signature is none\.pub, which"):
        check_signature(folder, "none.pub")
    with pytest.raises(UserError, match=r"SIGNING_KEY is none\.pem"):
        sign_folder(folder, "none.pem")
    (folder / SIGNATURE).unlink()
    with pytest.raises(UserError, match=r"is not signed, .* with SIGNING_KEY"):
        check_signature(folder, public)
