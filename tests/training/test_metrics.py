"""What a training prints, read as Katib 0.19 reads it."""

import contextlib
import io
import math
import re
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from components.training.__main__ import METRICS, print_metrics

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
