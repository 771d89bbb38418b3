"""What a training prints, read as Katib 0.19 reads it."""

import math
import re
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from components.training.katib_metrics import METRICS, print_metrics

# A fact of Katib's: DefaultFilter in pkg/metricscollector/v1beta1/common/const.go. Of Go's `\w`,
# which is ASCII only.
FILTER = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)", re.ASCII)


def collected(output):
    """(time, name, value) as the collector's parseLogsInTextFormat finds them.

    Every match of a line that names a metric has to be a number: with early stopping the collector
    ends at one that is none (watchMetricsFile in cmd/metricscollector/v1beta1).
    """
    found = []
    for line in output.splitlines():
        if not any(name in line for name in METRICS):
            continue
        time, _, rest = line.partition(" ")
        assert rest
        for name, value, *_ in FILTER.findall(line):
            found.append((datetime.fromisoformat(time), name, float(value)))
    return found


metrics = st.dictionaries(
    st.sampled_from([*METRICS, "epoch"]), st.floats(allow_nan=True, allow_infinity=True)
)


@given(metrics)
def test_the_collector_reads_what_is_printed_and_nothing_that_is_no_number(found):
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as output:
        print_metrics(found)
    read = {name: value for _, name, value in collected(output.getvalue())}
    assert read == {
        name: float(f"{value:.6f}")
        for name, value in found.items()
        if name in METRICS and math.isfinite(value)
    }


def test_values_are_ordered_by_their_times(capsys):
    for score in (0.3, 0.7, 0.5):
        print_metrics({"macro_f1": score})
    times = [time for time, _, _ in collected(capsys.readouterr().out)]
    assert times == sorted(set(times))
    assert all(time.tzinfo for time in times)
