"""Evidently's page of the same comparison: a second view, which decides nothing.

Its thresholds do not know how many rows there are: with few rows it alarms on nothing, and with
many it misses twice as many negative reviews.
"""

import contextlib
import io
import os
import warnings
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from components.monitoring.drift import LEAST_KNOWN, NAMES, NUMBERS
from components.monitoring.window import ServedModel, read_expected, read_window
from components.shared.machine.commands import install_command
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole

MOST_ROWS = 20_000
"""Rows of the window on the page, the newest; more only make it slower."""


def write_drift_page(
    log_uri: str, model: ServedModel, window: tuple[datetime, datetime], output: str | Path
) -> None:
    """Draw the columns of the reference against those of a window with Evidently.

    Raises:
        UserError: If no column has enough values on both sides, or Evidently is not installed.
    """
    os.environ["DO_NOT_TRACK"] = "1"  # Evidently would report its use.
    if find_spec("evidently") is None:
        raise UserError(
            "Evidently is not installed here; add the extra drift-page to the image of the steps "
            f"(EXTRAS), or on this machine: {install_command('drift-page')}"
        )
    expected = read_expected(model)
    answers = read_window(log_uri, model, *window).different
    answers = answers.slice(max(0, len(answers) - MOST_ROWS))
    columns = [
        name
        for name in (*NAMES, *NUMBERS)
        if min(len(table[name].drop_null()) for table in (expected, answers)) >= LEAST_KNOWN
    ]
    if not columns:
        raise UserError(
            f"the window holds {len(answers)} different texts, too few to draw; name a longer one"
        )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        definition = DataDefinition(
            numerical_columns=[name for name in columns if name in NUMBERS],
            categorical_columns=[name for name in columns if name in NAMES],
        )
        now, before = (
            Dataset.from_pandas(table.select(columns).to_pandas(), data_definition=definition)
            for table in (answers, expected)
        )
        drawn = Report([DataDriftPreset(columns=columns)]).run(now, before)
        with replaced_when_whole(output) as draft:
            drawn.save_html(str(draft))
