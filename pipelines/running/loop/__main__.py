"""Command line: the whole loop once, on this machine, with real services and simulated people.

A first model serves; clients ask about reviews in which something has changed; monitoring notices;
people label what is worth it, in Label Studio; a model is trained with their labels, and takes over
if it passes the gate and proves itself on live traffic. Killed anywhere, the same command goes on.
"""

import argparse
import logging
import os
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

from components.shared.machine.errors import EXIT_CODES, UserError, exit_in_words
from components.shared.machine.ports import port_number
from components.shared.machine.signals import on_sigterm
from pipelines.running.environment import check_databases, local_environment
from pipelines.running.loop.scene import Scene
from pipelines.running.loop.stages import Cast, Stages
from pipelines.running.loop.story import Story

_DEMO = "--accuracy-threshold 0.7 --macro-f1-threshold 0.45 --champion-margin 0.05"
"""Limits of the gate for a test split of a hundred reviews, on which a seed alone moves macro-F1 by
several points."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the loop, or what is left of it."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.loop",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", default="sample", help="labelled reviews at any URI (default: the bundled ones)")
    add("--columns", default="", help="fields and the columns to read them from, as in a run")
    add("--labels", default="sentiments", help="the classes, as in a run")
    add("--folder", type=Path, default=Path("loop"), help="state, runs and story (default: loop)")
    add("--model-name", default="review-sentiment", help="name in the registry of that folder")
    add("--people", type=int, default=4, help="simulated reviewers (default: 4), and a hasty one")
    add("--error", type=float, default=0.05, help="how often they err (default: 0.05)")
    add("--items", type=int, default=120, help="reviews that they are asked about (default: 120)")
    add("--rate", type=float, default=30.0, help="requests a second (default: 30)")
    # Not any free port: those are also given to connections, and Label Studio starts slowly.
    about = "port of Label Studio on this machine (default: 8181)"
    add("--review-port", type=port_number, default=8181, help=about)
    add("--seed", type=int, default=42, help="seed of the division, the splits and the errors")
    about = "further options of the training, as in --training='--base-model minilm'; the gate's "
    add("--training", default="", help=f"{about}limits are wide by default: {_DEMO}")
    options = parser.parse_args(arguments)
    exit_in_words(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    if options.people < 3:
        raise UserError(f"--people is {options.people}; three see each review, so give 3 or more")
    folder = options.folder.resolve()
    places = ("folder", "review_port")
    given = {name: str(value) for name, value in vars(options).items() if name not in places}
    folder.mkdir(parents=True, exist_ok=True)
    story = Story(folder / "story.json", given)
    if story.given != given:
        different = [name for name in given if story.given.get(name) != given[name]]
        raise UserError(
            f"{folder} holds the story of a loop with another {', '.join(different)}; "
            "name another folder, or remove this one to begin anew"
        )
    scene = Scene(folder, options.model_name, options.rate)
    os.environ |= local_environment(scene.state)
    check_databases(scene.state)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    warnings.simplefilter("ignore")
    training = [*shlex.split(_DEMO), *shlex.split(options.training)]
    cast = Cast(
        *(options.data, options.columns, options.labels, options.people, options.error),
        *(options.items, options.seed, training),
    )
    with on_sigterm(_interrupt):
        _tell(story, Stages(scene, cast), options.review_port)
    page = folder / "report.html"
    print(f"\nthe story, with times: {page}")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _tell(story: Story, stages: Stages, review_port: int) -> None:
    """All chapters in their order; after each the page is written anew."""
    from components.report.loop_page import write_loop_page
    from components.review.label_studio.process import label_studio

    scene = stages.scene

    def page() -> None:
        write_loop_page(scene.folder / "story.json", scene.folder / "report.html")

    story.tell("data", "Reviews of yesterday and of today", stages.divide)
    story.tell("first_model", "A first model", stages.train)
    page()
    if story.chapter("second_turn"):
        return
    with scene.site() as site:
        story.tell("serving", "It serves", stages.serve)
        story.tell("traffic", "Clients ask", lambda: stages.ask(site))
        page()
        with label_studio(scene.state, review_port):
            story.tell("first_turn", "The loop takes a look", lambda: stages.turn(1))
            page()
            story.tell("people", "People look at what is worth it", stages.vote)
            page()
            with scene.clients_of_a_canary(site):
                story.tell("second_turn", "The loop takes another look", lambda: stages.turn(2))
    page()


if __name__ == "__main__":
    main()
