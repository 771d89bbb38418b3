import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.file_list import write_file_list
from components.shared.records.model_folder import FILES_OF_KIND, TRANSFORMER, check_model_folder

LABELS = {"0": "negative", "1": "neutral", "2": "positive"}


@pytest.fixture
def folder(tmp_path):
    for name in FILES_OF_KIND[TRANSFORMER]:
        (tmp_path / name).touch()
    write_json(tmp_path / "config.json", {"id2label": LABELS, "max_position_embeddings": 64})
    write_json(tmp_path / "training.json", {"max_tokens": 32})
    write_json(tmp_path / "calibration.json", {"temperature": 1.5, "decision_offsets": [0, 0.1, 0]})
    return tmp_path


def test_a_whole_folder_is_let_in_until_a_listed_file_changes(folder):
    assert check_model_folder(folder) == folder
    digest = write_file_list(folder)
    assert check_model_folder(folder, digest) == folder
    (folder / "tokenizer.json").write_text("{}")
    for known in ("", digest):
        with pytest.raises(UserError, match=r"tokenizer\.json was changed; fetch the version"):
            check_model_folder(folder, known)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json missing; train again"):
        check_model_folder(folder)


def calibration(temperature, *offsets):
    return f'{{"temperature": {temperature}, "decision_offsets": {list(offsets)}}}'


def labels(**names):
    return str({"id2label": names}).replace("'", '"')


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        *(
            ("calibration.json", calibration(temperature, 0, 0, 0), "temperature is .*not above 0")
            for temperature in (0, -1, "NaN", "Infinity")
        ),
        ("calibration.json", calibration(1, 0, float("inf"), 0).replace("inf", "1e999"), "finite"),
        ("calibration.json", "{}", "holds no calibration"),
        ("calibration.json", "[]", "holds no calibration"),
        ("config.json", labels(**{"0": "negative", "1": "positive"}), "labels are .*3 classes"),
        ("config.json", "[]", "not a JSON object"),
        ("training.json", '{"max_tokens": 1}', "max_tokens is 1, not a number of tokens"),
        ("training.json", '{"max_tokens": "32"}', "max_tokens is '32'"),
        ("training.json", "[]", "max_tokens is None"),
        ("training.json", '{"max_tokens": 65}', "network cannot read max_tokens 65"),
        ("config.json", labels(**{**LABELS, "2": "negative"}), "its labels are"),
        ("config.json", labels(**{**LABELS, "3": "more"}), "its labels are .*, for 3 classes"),
    ],
)
def test_values_that_make_no_sense_are_refused(folder, file, content, why):
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=rf"{file} makes no sense: .*{why}.*train again"):
        check_model_folder(folder)
