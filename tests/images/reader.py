"""A small reader of our Dockerfiles: stages and their instructions, enough to test them by."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Instruction:
    name: str
    arguments: str


@dataclass(frozen=True)
class Dockerfile:
    """What stands before the first FROM, then the stages, each beginning with its FROM."""

    arguments: list[Instruction]
    stages: list[list[Instruction]]

    @property
    def build_stage(self):
        return self.stages[0]

    @property
    def last_stage(self):
        return self.stages[-1]

    def copied(self):
        """Sources in the project and their targets, of all stages."""
        pairs = []
        for given in in_order("COPY", *self.stages):
            if not given.startswith("--from="):
                *sources, target = given.split()
                pairs += [(source, target) for source in sources]
        return pairs


def in_order(name, *stages):
    """Arguments of the instructions of one name."""
    return [step.arguments for stage in stages for step in stage if step.name == name]


def labels(stage):
    return dict(re.findall(r'([\w.]+)="([^"]*)"', " ".join(in_order("LABEL", stage))))


def environment(stage):
    return dict(re.findall(r"(\w+)=(\S*)", " ".join(in_order("ENV", stage))))


def read_dockerfile(image):
    text = (ROOT / "images" / image / "Dockerfile").read_text()
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    instructions = [
        Instruction(*line.strip().split(maxsplit=1)) for line in lines.splitlines() if line.strip()
    ]
    starts = [i for i, step in enumerate(instructions) if step.name == "FROM"]
    ends = [*starts[1:], len(instructions)]
    return Dockerfile(
        arguments=instructions[: starts[0]],
        stages=[instructions[start:end] for start, end in zip(starts, ends, strict=True)],
    )
