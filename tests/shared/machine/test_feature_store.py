from pathlib import Path

import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import (
    data_dir,
    open_existing_store,
    open_store,
    store_config,
    store_dir,
)

POSTGRES = Path(__file__).parents[3] / "feature_repo" / "feature_store.postgres.yaml"


def test_the_folder_is_absolute_whatever_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATURE_STORE_DIR", raising=False)
    assert store_dir() == tmp_path / "state" / "features"
    monkeypatch.setenv("FEATURE_STORE_DIR", "elsewhere")
    assert data_dir() == tmp_path / "elsewhere" / "data"


def test_a_configuration_that_cannot_be_used_is_named(store_dir, monkeypatch):
    monkeypatch.setenv("FEATURE_STORE_CONFIG", str(store_dir / "none.yaml"))
    with pytest.raises(UserError, match=r"none\.yaml does not exist"):
        store_config()
    monkeypatch.setenv("FEATURE_STORE_CONFIG", str(POSTGRES))
    given = {"HOST": "127.0.0.1", "PORT": "1", "DATABASE": "1", "SSLMODE": "disable"}
    for name, value in given.items():
        monkeypatch.setenv(f"PG{name}", value)
    with pytest.raises(UserError, match="uses PGPASSWORD, PGUSER, which the environment"):
        open_store()
    monkeypatch.setenv("PGUSER", "1")
    monkeypatch.setenv("PGPASSWORD", "secret")
    with pytest.raises(UserError, match="cannot be opened") as caught:
        open_store()
    assert "secret" not in str(caught.value)


def test_looking_does_not_make_a_store(store_dir):
    with pytest.raises(UserError, match="there is no feature store"):
        open_existing_store()
    assert not store_dir.exists()
