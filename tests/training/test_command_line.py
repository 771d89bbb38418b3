import logging
import re
import subprocess
import sys

import pytest

from components.training.__main__ import build_parser, main
from components.training.options import TrainingOptions
from tests.training.test_metrics import read_by_katib


def test_every_option_is_an_argument():
    help_text = build_parser().format_help()
    for name in TrainingOptions().to_dict():
        assert f"--{name.replace('_', '-')}" in help_text


def test_help_loads_no_heavy_library():
    code = (
        "import sys\n"
        "from components.training.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
        "heavy = {'torch', 'transformers', 'kfp', 'feast', 'kserve'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_metrics_are_lines_that_katib_reads(small_set, tiny_bert, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    main(
        [
            *("--training-set", str(small_set), "--base-model", str(tiny_bert)),
            *("--output", str(tmp_path / "model"), "--epochs", "1", "--precision", "fp32"),
            *("--batch-size", "16", "--learning-rate", "1e-3", "--min-steps", "0"),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    # Katib 0.19's regular expression reads these; before it may stand the time.
    assert all(re.fullmatch(r"(\S+Z )?[a-z_0-9]+=\d+\.\d+", line) for line in lines), lines
    names = [line.split()[-1].split("=")[0] for line in lines]
    assert names.count("macro_f1") == 3  # two looks at validation, and the weights kept
    # Katib reads the log as well, and what names a metric there must be no other setting.
    read_by_katib("\n".join([*lines, *caplog.messages]))
    assert caplog.messages
    assert (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "none"], "epochs must be a whole number"),
        (["--base-model", "no/such/place"], "no/such/place"),
        (["--training-set", "missing.parquet"], "missing.parquet"),
    ],
)
def test_mistakes_end_in_one_sentence_and_code_2(
    arguments, message, small_set, tiny_bert, tmp_path, capsys
):
    given = ["--training-set", str(small_set), "--base-model", str(tiny_bert)]
    with pytest.raises(SystemExit) as ended:
        main([*given, "--output", str(tmp_path / "model"), *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "is not a JSON object"), ("{", "is not valid JSON"), (None, "does not exist")],
)
def test_facts_that_are_none_are_reported(tmp_path, capsys, content, message):
    facts = tmp_path / "facts.json"
    if content is not None:
        facts.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        main(["--training-set", "x", "--output", "y", "--facts-file", str(facts)])
    assert message in capsys.readouterr().err
