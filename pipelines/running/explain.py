"""Command line: why a registered version answers a review as it does, word by word."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from components.shared.machine.commands import make_command
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.records.explanation import Explanation, Word, text_of
from pipelines.running.environment import check_databases, local_environment

_CHAMPION = "champion"
_FAINTEST = 0.06
_LISTED = 8
# Background and letters by strength, from faint to strong: blue speaks for, orange against.
_COLOURS = {
    True: ("48;5;153;38;5;16", "48;5;111;38;5;16", "48;5;27;38;5;231"),
    False: ("48;5;223;38;5;16", "48;5;215;38;5;16", "48;5;166;38;5;231"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the version, explain the review, print it, and write its page where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.explain", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--text", default="", help="the review")
    parser.add_argument("--title", default="", help="its title")
    parser.add_argument("--version", default=_CHAMPION, help="number or alias (default: champion)")
    parser.add_argument("--model-name", default="review-sentiment", help="name in the registry")
    parser.add_argument("--state", type=Path, default=Path("state"), help="the runs' state folder")
    parser.add_argument("--output", default="", help="HTML file for the same as a page")
    options = parser.parse_args(arguments)
    exit_in_words(lambda: _explain(options))


def _explain(options: argparse.Namespace) -> None:
    from components.shared.records.text import model_text

    os.environ |= local_environment(options.state)
    text = model_text(options.title, options.text)
    if not text:
        command = make_command("explain", options.model_name, TEXT="Runs small, and it itches.")
        raise UserError(f"there is no review to explain; give one: {command}")
    if options.output and Path(options.output).is_dir():
        raise UserError(f"{options.output} is a folder; name the HTML file to write")
    check_databases(options.state)
    version, folder = fetched(options.model_name, options.version, options.state.resolve())

    from components.shared.records.explainer import load_explainer

    explanation = load_explainer(folder).explain(text)
    print(in_words(explanation, f"version {version} of {options.model_name}", colours=_colours()))
    if options.output:
        from components.report.explanation_page import write_answer_page

        write_answer_page(explanation.to_dict(), options.output)
        print(f"\npage: {options.output}")


def fetched(model_name: str, version: str, state: Path) -> tuple[str, Path]:
    """Number and model folder of a version, downloaded unless an intact copy lies in `state`.

    Raises:
        UserError: If there is no such version, or it is not what was registered.
    """
    from components.registry.versions import FOLDER_DIGEST, download_model, version_by
    from components.shared.machine.tracking import errors_in_words, tracking_client
    from components.shared.records.model_folder import check_model_folder

    client = tracking_client()
    with errors_in_words():
        try:
            registered = version_by(client, model_name, version)
        except UserError as error:
            if version != _CHAMPION:
                raise
            train = make_command("run", model_name)
            raise UserError(f"{error}; `{train}` trains a champion") from None
        number = str(registered.version)
        folder = state / "explained" / model_name / number
        try:
            check_model_folder(folder, registered.tags.get(FOLDER_DIGEST, ""))
        except UserError:
            download_model(client, registered, folder)
    return number, folder


def in_words(explanation: Explanation, who: str, *, colours: bool) -> str:
    """The explanation for a terminal: the answer, the text, the strongest words, the proof."""
    chances = sorted(explanation.probabilities.items(), key=lambda pair: -pair[1])
    others = ", ".join(f"{n} {p:.1%}" for n, p in chances if n != explanation.label)
    lines = [
        f"{who} answers {explanation.label}, {explanation.probability:.1%} ({others})",
        "",
        _text(explanation, colours),
        "",
    ]
    ranked = sorted(explanation.words, key=lambda word: -abs(word.attribution))
    sides = [
        [_entry(word) for word in ranked if word.attribution * sign > 0][:_LISTED]
        for sign in (1, -1)
    ]
    titles = f"speaks for {explanation.label}", "speaks against it"
    width = max(len(entry) for entry in (titles[0], *sides[0])) + 4
    lines.append(f"{titles[0]:{width}}{titles[1]}")
    for row in range(max(map(len, sides))):
        first, second = (side[row] if row < len(side) else "" for side in sides)
        lines.append(f"{first:{width}}{second}".rstrip())
    lines += [
        "",
        f"Contributions to the log-probability, by {explanation.method}.",
        f"Together they are the difference to an empty review, {explanation.difference:+.3f},",
        f"but for {explanation.completeness_error:.1%} (error of completeness).",
    ]
    return "\n".join(lines)


def _text(explanation: Explanation, colours: bool) -> str:
    """The text, its words in colours; the end that was not read is named."""
    most = max((abs(word.attribution) for word in explanation.words), default=0.0)
    painted = [
        ("" if word.joined else " ") + _painted(word, abs(word.attribution) / most * colours)
        for word in explanation.words
        if most
    ]
    text = "".join(painted).strip() if painted else text_of(explanation.words)
    if explanation.unread:
        text += f"\n[not read, the review is longer than the model reads: {explanation.unread}]"
    return text


def _painted(word: Word, strength: float) -> str:
    if strength < _FAINTEST:
        return word.text
    colour = _COLOURS[word.attribution > 0][min(2, int(3 * strength))]
    return f"\x1b[{colour}m{word.text}\x1b[0m"


def _entry(word: Word) -> str:
    return f"{word.attribution:+.3f}  {word.text}"


def _colours() -> bool:
    """Whether to colour: in a terminal, unless the user wants none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


if __name__ == "__main__":
    main()
