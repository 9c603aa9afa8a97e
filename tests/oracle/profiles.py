"""How long the state machine runs: `ORACLE_PROFILE=quick|ci|deep`, quick unless told.

`ORACLE_SEED` (a number) chooses other examples; quick and ci always run the same ones otherwise.
`deep` draws new ones each time. Two processes with different seeds use two cores.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.oracle.differential import Found
from tests.oracle.shrinking import play, shrink

if TYPE_CHECKING:
    from tests.oracle.machine import Machine

_DEFAULT_SEED = 20_240


@dataclass(frozen=True)
class Profile:
    examples: int
    steps: int
    # Trees are compared after so many steps. More often finds a cause sooner; less often is faster
    # and leaves the caches as the steps left them, not as a walk of the whole tree does.
    compare_every: int


PROFILES = {
    "quick": Profile(25, 30, 5),
    "ci": Profile(150, 40, 3),
    "deep": Profile(2_000, 60, 3),
}


def chosen() -> Profile:
    return PROFILES[os.environ.get("ORACLE_PROFILE", "quick")]


def run(
    machine: type[Machine],
    profile: Profile | None = None,
    *,
    part: int = 1,
    seed: int | None = None,
) -> None:
    """Run a state machine for one `part`-th of the examples of a profile.

    Raises:
        Found: the two sides differ; shrunk.
    """
    profile = profile or chosen()

    class Run(machine):  # type: ignore[valid-type, misc]
        compare_every = profile.compare_every

    told = os.environ.get("ORACLE_SEED")
    if seed is None and told is not None:
        seed = int(told)
    if seed is not None or profile is not PROFILES["deep"]:
        hypothesis.seed(_DEFAULT_SEED if seed is None else seed)(Run)
    try:
        run_state_machine_as_test(Run, settings=_settings(profile, part))
    except Found as found:
        again = partial(
            play,
            right=machine.right,
            tested=machine.tested,
            namespace=machine.namespace,
            metacopies=machine.metacopies,
            pair_kind=machine.pair_kind,
        )
        raise shrink(found, again) from None


def _settings(profile: Profile, part: int) -> settings:
    return settings(
        max_examples=max(1, profile.examples // part),
        stateful_step_count=profile.steps,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate],  # `shrink` is faster
        suppress_health_check=list(HealthCheck),
    )
