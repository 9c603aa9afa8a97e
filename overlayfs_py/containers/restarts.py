"""Whether and when a container is started again, by docker's rules."""

from __future__ import annotations

from enum import Enum

from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

_FORM = late_pattern(r"(no|always|unless-stopped|on-failure)(?::([0-9]{1,6}))?")
# moby, restartmanager.go: twice as long each time, from the start again after ten good seconds.
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 60.0
_GOOD_RUN_S = 10.0


class When(Enum):
    """After which ends."""

    NEVER = "no"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"
    ON_FAILURE = "on-failure"


class RestartPolicy(NamedTuple):
    """What `--restart` says."""

    when: When
    most: int = 0  # how often; 0: without an end

    @classmethod
    def parse(cls, text: str) -> RestartPolicy:
        """Return what `no`, `always`, `unless-stopped` or `on-failure[:N]` means.

        Raises:
            ValueError: it is none of these.
        """
        found = _FORM.fullmatch(text)
        if found is None or (found[2] and found[1] != When.ON_FAILURE.value):
            raise ValueError("no, always, unless-stopped or on-failure[:N] is needed")
        return cls(When(found[1]), int(found[2] or 0))

    def delay_s(self, status: int, restarts_done: int, ran_s: float) -> float | None:
        """Return how long to wait before the next start, None if there is to be none.

        Not asked after a person has stopped the container.
        """
        if self.when is When.NEVER or (self.when is When.ON_FAILURE and not status):
            return None
        if self.most and restarts_done >= self.most:
            return None
        doublings = 0 if ran_s >= _GOOD_RUN_S else min(restarts_done, 16)
        return min(_FIRST_DELAY_S * 2.0**doublings, _LONGEST_DELAY_S)
