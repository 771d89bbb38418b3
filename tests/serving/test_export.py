import logging

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.serving import export
from components.serving.export import EXPORTED_ENGINES, export_for_serving
from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file, write_parquet
from components.shared.records.engines import read_engines
from components.shared.records.model_folder import check_model_folder


@pytest.mark.slow
def test_the_folder_keeps_its_files_and_gets_its_checked_engines(served_folder, exported_folder):
    check_model_folder(exported_folder)
    for file in served_folder.iterdir():
        assert (exported_folder / file.name).read_bytes() == file.read_bytes()
    checks = read_engines(exported_folder)
    assert [check.name for check in checks] == [name for name, _, _ in EXPORTED_ENGINES]
    for check in checks:
        weights = (exported_folder / check.file).with_suffix(".bin")
        assert check.sha256 == sha256_of_file(weights)
        assert check.reviews == 40
    exact = next(check for check in checks if check.is_reference)
    assert exact.labels_equal == 1.0
    assert exact.macro_f1 == exact.macro_f1_reference > 0
    assert exact.max_probability_difference < 1e-5
    assert all(check.max_probability_difference < 0.05 for check in checks)


@pytest.mark.slow
def test_an_engine_that_disagrees_stays_marked_as_not_to_serve(
    served_folder, training_set, tmp_path, monkeypatch
):
    class Wrong(export.OpenVinoEngine):
        def logits(self, input_ids):
            return -super().logits(input_ids) if "bf16" in self.name else super().logits(input_ids)

    said = {}  # Not by caplog: pytest hands its handler to NNCF, which sets the level.
    monkeypatch.setattr(
        export.logger, "log", lambda level, text, *of: said.update({text % of: level})
    )
    monkeypatch.setattr(export, "OpenVinoEngine", Wrong)
    folder = tmp_path / "exported"
    export_for_serving(served_folder, training_set, folder, max_reviews=10)
    wrong = next(check for check in read_engines(folder) if check.name == "openvino-bf16")
    assert wrong.reviews == 10
    assert wrong.labels_equal < 0.9
    assert not wrong.may_serve
    (line,) = [line for line in said if line.startswith("openvino-bf16")]
    assert line.endswith("it will not serve")
    assert said[line] == logging.WARNING


@pytest.mark.slow
def test_what_fails_leaves_no_folder(served_folder, training_set, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(export, "_write_networks", fail)
    with pytest.raises(OSError, match="no space"):
        export_for_serving(served_folder, training_set, tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []


def test_a_training_set_without_validation_is_said_in_words(served_folder, training_set, tmp_path):
    path = tmp_path / "set.parquet"
    write_parquet(path, pq.read_table(training_set, filters=[("split", "=", "train")]))
    with pytest.raises(UserError, match="no validation rows"):
        export_for_serving(served_folder, path, tmp_path / "exported")
    with pytest.raises(UserError, match="not a whole model folder"):
        export_for_serving(tmp_path, training_set, tmp_path / "exported")


def test_rows_are_taken_evenly(training_set):
    (calibration, _), (ids, classes) = export._splits(training_set, 7).values()
    assert len(calibration) == 80
    assert len(ids) == len(classes) == 7
    whole = pq.read_table(training_set, filters=[("split", "=", "validation")])["input_ids"]
    assert (ids[0], ids[-1]) == (whole[0].as_py(), whole[-1].as_py())
    assert set(np.unique(classes)) <= {0, 1, 2}
