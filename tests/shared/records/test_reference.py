import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.machine.errors import UserError
from components.shared.records.reference import REFERENCE, read_reference, reference_schema

NAMES = ("bad", "good")


def test_a_reference_is_read_back_and_older_folders_have_none(tmp_path):
    assert read_reference(tmp_path, NAMES) is None
    table = pa.Table.from_pylist([{"split": "test", "p_bad": 0.5}], schema=reference_schema(NAMES))
    pq.write_table(table, tmp_path / REFERENCE)
    assert read_reference(tmp_path, NAMES) == table


def test_an_empty_one_and_one_of_other_classes_are_refused(tmp_path):
    pq.write_table(reference_schema(NAMES).empty_table(), tmp_path / REFERENCE)
    with pytest.raises(UserError, match="holds no row; export"):
        read_reference(tmp_path, NAMES)
    with pytest.raises(UserError, match="p_other"):
        read_reference(tmp_path, ("other", "good"))
