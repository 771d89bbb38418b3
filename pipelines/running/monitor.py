"""Command line: look at the champion's payload log, and say whether its traffic drifted."""

import argparse
import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from components.shared.machine.commands import make_command
from components.shared.machine.errors import DRIFTED, EXIT_CODES, UserError, exit_in_words
from components.shared.records.monitoring_summary import YES, MonitoringSummary
from pipelines.running.environment import check_databases, local_environment

LOG = "payloads"
"""Folder of the state in which the log is looked for, unless another place is named."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the champion, look, print what was found; drift has an exit code of its own."""
    exit_in_words(lambda: _look(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.monitor",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--log", default="", help=f"payload log, folder or URI (default: {LOG} in the state)")
    add("--since", default="", help="begin of the window, ISO (default: 7 days before its end)")
    add("--until", default="", help="end of the window, ISO (default: now)")
    add("--version", default="champion", help="number or alias (default: champion)")
    add("--model-name", default="review-sentiment", help="name in the registry")
    add("--resolved", default="", help="labels that people agreed on (default: the review's)")
    add("--state", type=Path, default=Path("state"), help="the runs' state folder")
    about = "false alarms of a year that one can live with (default: %(default)g)"
    add("--alarms-per-year", type=float, default=1.0, help=about)
    about = "how often a year somebody looks (default: %(default)s)"
    add("--looks-per-year", type=int, default=365, help=about)
    about = "different texts below which nothing is said (default: %(default)s)"
    add("--min-rows", type=int, default=500, help=about)
    about = "least share of answers that must have moved for an alarm (default: %(default)g)"
    add("--min-effect", type=float, default=0.01, help=about)
    add("--evidently", action="store_true", help="have Evidently draw a page of its own as well")
    return parser


def _look(options: argparse.Namespace) -> None:
    os.environ |= local_environment(options.state)
    check_databases(options.state)
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")

    from components.monitoring.drift_page import write_drift_page
    from components.monitoring.look import monitoring_folder, review_labels, take_look, window_of
    from components.monitoring.monitor import MonitoringOptions
    from components.monitoring.window import ServedModel
    from components.registry.versions import fetch_version
    from components.report.monitoring_page import write_monitoring_page

    strict = (options.alarms_per_year, options.looks_per_year, options.min_rows, options.min_effect)
    settings, window = MonitoringOptions(*strict), window_of(options.since, options.until)
    log = options.log or str(options.state / LOG)
    folder = monitoring_folder()
    page, drift_page = folder / "monitoring.html", folder / "drift.html"
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, predictions = Path(temporary, "model"), Path(temporary, "predictions")
        try:
            number = fetch_version(options.model_name, options.version, model, predictions)
        except UserError as error:
            if options.version != "champion":
                raise
            train = make_command("run", options.model_name)
            raise UserError(f"{error}; `{train}` trains a champion") from None
        served = ServedModel(model, options.model_name, number)
        found = take_look(
            log,
            served,
            window,
            folder / "monitoring_summary.json",
            settings,
            resolved=options.resolved or review_labels(),
            predictions=predictions,
        )
        write_monitoring_page(folder / "monitoring_summary.json", page)
        if options.evidently:
            write_drift_page(log, served, window, drift_page)
    print(in_words(found))
    print(f"  page: {page}" + (f"\n  Evidently's page: {drift_page}" if options.evidently else ""))
    end_of(found)


def end_of(found: MonitoringSummary) -> None:
    """End the command with the exit code of drift, if anything drifted."""
    if YES in (found.drifted, found.concept_drift):
        raise SystemExit(DRIFTED)


def in_words(found: MonitoringSummary) -> str:
    """The look for a terminal."""
    window = f"{found.since[:16]} to {found.until[:16]}".replace("T", " ")
    lines = [
        f"{found.verdict}: {found.model_name} version {found.model_version}, "
        f"{found.rows:,} answers, {window} UTC",
    ]
    changes = [*found.causes, *(f"{one.title}: {one.words}" for one in found.found)]
    lines += changes or [found.sentence]
    lines.append(found.concept_sentence)
    others = {name: rows for name, rows in found.versions.items() if name != found.model_version}
    if others:
        counted = ", ".join(f"{rows:,} of {name}" for name, rows in others.items())
        lines.append(f"answers of other versions, not compared: {counted}")
    alarms = f"{found.alarms_per_year:g} false alarm{'s' * (found.alarms_per_year != 1)}"
    budget = f"{alarms} in {found.looks_per_year} looks a year"
    lines.append(f"alarm below p = {found.alpha:.2g} ({budget}); look {found.looks_last_year}")
    return "\n  ".join(lines)


if __name__ == "__main__":
    main()
