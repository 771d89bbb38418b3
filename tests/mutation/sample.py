"""How many of a seeded sample of mutants do a module's own tests notice?

    python tests/mutation/sample.py --module components/shared/records/splits.py \
        --tests tests/data/test_split.py --mutants 25

Mutants are small changes of the code, made by cosmic-ray's operators: a comparison turned, a number
off by one, a decorator gone. Each is tried in a copy of the tree, so that nothing here is edited.
`--tree` names another checkout, perhaps an older one; `--module` and `--tests` are paths in it.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "runs", "state", "build"
)


def worth_trying(operator: str) -> bool:
    """Whether an operator needs no arguments and changes what the code does."""
    kind, *swapped = operator.split("_")
    if kind.endswith(("VariableInserter", "VariableReplacer")):
        return False
    # `|` stands in annotations; `==` for `is`, and `is` for `==`, rarely make a difference.
    return "BitOr" not in swapped and len({name.startswith("Is") for name in swapped}) < 2


def mutants_of(source: str) -> list[list[tuple[str, int]]]:
    """For each place that can be changed its mutants: an operator and its occurrence."""
    nodes = list(ast_nodes(get_ast(source)))
    places: dict[tuple, list[tuple[str, int]]] = {}
    for name in filter(worth_trying, sorted(operator_names())):
        operator = get_operator(name)()
        spans = [span for node in nodes for span in operator.mutation_positions(node)]
        for occurrence, (start, *_) in enumerate(spans):
            places.setdefault(start, []).append((name, occurrence))
    return [places[start] for start in sorted(places)]


def compiles(code: str) -> bool:
    """Whether this is Python: the star of keyword-only parameters is not a product."""
    with warnings.catch_warnings(), contextlib.suppress(SyntaxError):
        warnings.simplefilter("ignore", SyntaxWarning)
        return bool(compile(code, "mutant", "exec"))
    return False


def outcome_of(tree: Path, tests: list[str], seconds: float) -> str:
    """`survived` if the tests pass in this tree, `killed` if they fail, `timeout` if they hang."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        command, cwd=tree, env=environment, start_new_session=True, **silent
    ) as process:
        try:
            return "killed" if process.wait(seconds) else "survived"
        except subprocess.TimeoutExpired:
            return "timeout"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and the servers that the tests started


def main() -> None:
    """Draw, try and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--module", nargs="+", required=True, help="files to change")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest runs")
    parser.add_argument("--mutants", type=int, default=25, help="drawn from all modules together")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw")
    parser.add_argument("--seconds", type=float, default=900, help="limit without a mutant")
    parser.add_argument("--tree", type=Path, default=Path.cwd(), help="checkout to copy")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        shutil.copytree(options.tree, tree, ignore=NOT_COPIED)
        shared = options.tree.resolve().parent / "shared"
        if shared.is_dir():  # some tests read schemas beside the checkout
            Path(folder, "shared").symlink_to(shared.resolve())
        started = time.monotonic()
        if (unchanged := outcome_of(tree, options.tests, options.seconds)) != "survived":
            sys.exit(f"error: without a mutant the tests end in {unchanged}; fix them first")
        took = time.monotonic() - started
        limit = max(60.0, 5 * took)
        print(f"without a mutant: {took:.0f} s", flush=True)

        sources = {name: (tree / name).read_text(encoding="utf-8") for name in options.module}
        places = [(name, here) for name in sources for here in mutants_of(sources[name])]
        draw = random.Random(options.seed)
        draw.shuffle(places)
        outcomes: dict[str, Counter[str]] = {name: Counter() for name in sources}
        for name, here in places:
            if sum(map(Counter.total, outcomes.values())) == options.mutants:
                break
            operator, occurrence = draw.choice(here)
            try:
                changed = mutate_code(sources[name], get_operator(operator)(), occurrence)
            except AttributeError:  # cosmic-ray cannot change `except module.Error`
                continue
            if not compiles(changed):
                continue
            (tree / name).write_text(changed, encoding="utf-8")
            outcome = outcome_of(tree, options.tests, limit)
            (tree / name).write_text(sources[name], encoding="utf-8")
            outcomes[name][outcome] += 1
            if outcome != "killed":
                print(f"{outcome}  {name}: {difference(sources[name], changed)}", flush=True)
        for name in sources:
            print(summary(name, outcomes[name]))
        print(summary("together", sum(outcomes.values(), Counter())))


def summary(name: str, outcomes: Counter) -> str:
    """A line of the table; a mutant whose tests hang counts as killed."""
    killed, total = outcomes.total() - outcomes["survived"], outcomes.total()
    hung = f" ({outcomes['timeout']} by the time limit)" if outcomes["timeout"] else ""
    return f"{killed:4d} of {total:3d} killed, {killed / max(total, 1):4.0%}  {name}{hung}"


def difference(source: str, changed: str) -> str:
    """Number and text of the first line that differs."""
    pairs = zip(source.splitlines(), changed.splitlines(), strict=False)
    for number, (was, now) in enumerate(pairs, 1):
        if was != now:
            return f"line {number}: {was.strip()}  ->  {now.strip()}"
    return "at its end"


if __name__ == "__main__":
    main()
