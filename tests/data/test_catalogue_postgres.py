"""The catalogue of a cluster: in Postgres, by libpq's variables, for several steps at once."""

import multiprocessing

import pytest

from components.data.catalogue import data_sets
from tests.data.conftest import write_reviews
from tests.data.test_catalogue import _register, ids_in
from tests.features.test_postgres import INITDB, REASON
from tests.features.test_postgres import postgres as postgres

pytestmark = [pytest.mark.slow, pytest.mark.skipif(INITDB is None, reason=REASON)]


def test_ingests_at_once_on_postgres_all_end_right(postgres, tmp_path, monkeypatch):
    for name, value in postgres.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CATALOGUE_URI", "postgresql+psycopg://")
    monkeypatch.setenv("CATALOGUE_WAREHOUSE", str(tmp_path / "warehouse"))
    for number in range(2):
        write_reviews(tmp_path / str(number), [{"review_id": f"of {number}"}])
    context = multiprocessing.get_context("spawn")
    side_by_side = [context.Process(target=_register, args=(n, tmp_path)) for n in range(4)]
    for process in side_by_side:
        process.start()
    for process in side_by_side:
        process.join()
    assert [process.exitcode for process in side_by_side] == [0] * 4
    found = {one.fingerprint: ids_in(one) for one in data_sets()}
    assert found == {"fingerprint0": {"of 0"}, "fingerprint1": {"of 1"}}
