import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.pseudonyms import KEY_VARIABLE, pseudonym, pseudonym_key


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    key = pseudonym_key(tmp_path)
    assert pseudonym_key(tmp_path) == key
    assert len(key) == 64
    (file,) = (tmp_path / "secrets").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert pseudonym_key(tmp_path / "elsewhere") != key


def test_the_state_folder_of_the_environment_holds_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_STATE", str(tmp_path))
    assert pseudonym_key() == pseudonym_key(tmp_path)


def test_a_key_of_the_environment_comes_first_and_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "a key out of a Secret")
    assert pseudonym_key(tmp_path) == b"a key out of a Secret"
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_was_cut_is_refused_with_its_place(tmp_path, monkeypatch):
    pseudonym_key(tmp_path)
    (tmp_path / "secrets" / "pseudonyms.key").write_text("abc\n")
    with pytest.raises(UserError, match=r"pseudonyms\.key is shorter than 16 characters"):
        pseudonym_key(tmp_path)
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(UserError, match=KEY_VARIABLE):
        pseudonym_key(tmp_path)


def test_a_pseudonym_depends_on_key_kind_and_name():
    one = pseudonym(b"key", "annotator", "ann@example.org")
    assert one == pseudonym(b"key", "annotator", "ann@example.org")
    others = {
        pseudonym(b"another", "annotator", "ann@example.org"),
        pseudonym(b"key", "review", "ann@example.org"),
        pseudonym(b"key", "annotator", "bob@example.org"),
    }
    assert len(others | {one}) == 4
    assert "ann" not in one
