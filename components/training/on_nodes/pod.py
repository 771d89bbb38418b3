"""What runs in a TrainJob's pods: torchrun, but with the exit code and the last words of its ranks.

torchrun itself ends with code 1 whatever happened, behind thirty lines of its own, so that neither
Kubernetes nor who reads the end of the log learns what it was. The TrainingRuntime tells the codes
apart: after a mistake of the user's (2) starting again is of no use, and after SIGTERM (143) it is
no failure.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Train with the ranks that torchrun starts on this node.

    Where they are and how many is in the variables that Trainer sets (`PET_*`).

    Args:
        arguments: Arguments of `python -m components.training`; this process's own where None.

    Raises:
        SystemExit: With the code of the rank that failed first, or as a shell reports its signal.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    given = sys.argv[1:] if arguments is None else arguments
    try:
        torchrun(["-m", "components.training", *given])
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        raise SystemExit(exit_code(first.exitcode)) from None
    except SignalException as signalled:
        raise SystemExit(exit_code(-signalled.sigval)) from None


def exit_code(of_child: int) -> int:
    """The exit code that stands for a child's, which is negative after a signal.

    torchrun ends the ranks that are left by SIGTERM; what the first one ended with counts.
    """
    return 128 - of_child if of_child < 0 else of_child or 1


if __name__ == "__main__":
    main()
