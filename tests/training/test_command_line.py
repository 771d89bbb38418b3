import contextlib
import io
import logging
import math
import re
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.images import code_version
from components.shared.records.model_folder import check_model_folder, read_training_facts
from components.training.__main__ import METRICS, main, print_metrics

# A fact of Katib's: DefaultFilter in pkg/metricscollector/v1beta1/common/const.go. Of Go's `\w`,
# which is ASCII only.
FILTER = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)", re.ASCII)


def read_by_katib(output):
    """Names and values as the collector's parseLogsInTextFormat finds them, line by line.

    Every match in a line that names a metric has to be a number: with early stopping the collector
    ends at one that is none (watchMetricsFile in cmd/metricscollector/v1beta1).
    """
    return [
        (name, float(value))
        for line in output.splitlines()
        if any(name in line for name in METRICS)
        for name, value, *_ in FILTER.findall(line)
    ]


metrics = st.dictionaries(
    st.sampled_from([*METRICS, "epoch"]), st.floats(allow_nan=True, allow_infinity=True)
)


@given(metrics)
def test_the_collector_reads_what_is_printed_and_nothing_that_is_no_number(found):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        print_metrics(found)
    assert dict(read_by_katib(output.getvalue())) == {
        name: float(f"{value:.6f}")
        for name, value in found.items()
        if name in METRICS and math.isfinite(value)
    }


def test_values_are_ordered_by_their_times(capsys):
    for score in (0.3, 0.7, 0.5):
        print_metrics({"macro_f1": score})
    lines = [line.split(" ") for line in capsys.readouterr().out.splitlines()]
    times = [datetime.fromisoformat(time) for time, _ in lines]
    assert times == sorted(set(times))
    assert all(time.utcoffset() == timedelta(0) for time in times)


def test_help_loads_no_heavy_library():
    command = [sys.executable, "-X", "importtime", "-m", "components.training", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not {"torch", "transformers", "kfp", "feast", "kserve"} & loaded


def test_metrics_are_lines_that_katib_reads(small_set, tiny_bert, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "facts.json").write_text('{"data_fingerprint": "f"}')
    main(
        [
            *("--training-set", str(small_set), "--base-model", str(tiny_bert)),
            *("--output", str(tmp_path / "model"), "--epochs", "1", "--precision", "fp32"),
            *("--batch-size", "16", "--learning-rate", "1e-3", "--min-steps", "0"),
            *("--facts-file", str(tmp_path / "facts.json")),
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
    facts = read_training_facts(check_model_folder(tmp_path / "model"))["facts"]
    assert facts == {"data_fingerprint": "f", "code_version": code_version()}


@pytest.mark.parametrize(
    ("arguments", "facts", "message"),
    [
        (["--epochs", "none"], None, "epochs must be a whole number"),
        (["--base-model", "no/such/place"], None, "no/such/place"),
        (["--training-set", "missing.parquet"], None, "missing.parquet"),
        (["--facts-file", "facts.json"], "[1]", "is not a JSON object"),
        (["--facts-file", "facts.json"], "{", "is not valid JSON"),
        (["--facts-file", "facts.json"], None, "does not exist"),
    ],
)
def test_mistakes_end_in_one_sentence_and_code_2(
    arguments, facts, message, small_set, tiny_bert, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if facts is not None:
        (tmp_path / "facts.json").write_text(facts)
    required = ["--training-set", str(small_set), "--base-model", str(tiny_bert)]
    with pytest.raises(SystemExit) as ended:
        main([*required, "--output", "model", *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
