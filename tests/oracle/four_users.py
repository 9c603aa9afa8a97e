"""Random calls of four users on kernel overlayfs and on ours, compared after every step.

    python -m tests.oracle.four_users [--steps N] [--seed N] [DRIVER ...]

Prints a line of JSON per driver; a difference is shrunk and printed, and ends it with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.oracle import parties, profiles
from tests.oracle.differential import Found
from tests.oracle.namespaces import private_mounts
from tests.oracle.profiles import Profile
from tests.oracle.trees import kernel_redirects_of_any_length
from tests.oracle.warm import WarmDaemons

if TYPE_CHECKING:
    from tests.oracle.machine import Machine

_STEPS = 50  # of an example
_COMPARE_EVERY = 10


def counting(machine: type[Machine], counts: Counter[str]) -> type[Machine]:
    """The same machine; counts the calls of each user that were done, and those that failed."""

    class Counting(machine):  # type: ignore[valid-type, misc]
        def _do(self, name: str, *arguments: object, user: int = 0) -> object:
            result = super()._do(name, *arguments, user=user)
            counts["steps"] += 1
            counts[f"of {self.users[user]}"] += 1
            counts["refused"] += isinstance(result, str)
            return result

    return Counting


def compare(daemons: WarmDaemons, driver: str, steps: int, seed: int = 0) -> Counter[str]:
    """Do at least so many steps.

    Raises:
        Found: the two sides differ.
    """
    counts: Counter[str] = Counter()
    both = parties.with_four_users(parties.kernel(), parties.our_driver(daemons, driver))
    while counts["steps"] < steps:
        examples = -(-(steps - counts["steps"]) // _STEPS)
        profile = Profile(examples, _STEPS, _COMPARE_EVERY)
        profiles.run(counting(both, counts), profile, seed=seed)
        seed += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("drivers", nargs="*", default=["direct", "pyfuse3"])
    chosen = parser.parse_args()
    note = Path(tempfile.gettempdir()) / "redirect_max"
    with private_mounts(), kernel_redirects_of_any_length(note), WarmDaemons() as daemons:
        for driver in chosen.drivers:
            start = time.monotonic()
            try:
                counts = compare(daemons, driver, chosen.steps, chosen.seed)
            except Found as found:
                print(found)
                return 1
            took = round(time.monotonic() - start)
            print(json.dumps({"driver": driver, "seconds": took, **counts}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
