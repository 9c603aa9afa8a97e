"""What the processes of a container may do and use, as its options say."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from overlayfs_py.containers import capabilities
from overlayfs_py.errors import Failure
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import capabilities as capability_calls
from overlayfs_py.syscalls import namespaces, seccomp

if TYPE_CHECKING:
    from overlayfs_py.containers.seccomp_profile import Profile
    from overlayfs_py.store.containers import ContainerRecord

UNCONFINED = "unconfined"  # as a seccomp profile: no filter
_UNLIMITED = ("-1", "unlimited")
_LIMITS = {
    name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}


class Limit(NamedTuple):
    """One of setrlimit(2)."""

    name: str
    soft: int
    hard: int

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Return what `nofile=1024[:2048]` means; -1 is no limit.

        Raises:
            ValueError: it makes no sense.
        """
        name, equals, values = text.partition("=")
        soft, colon, hard = values.partition(":")
        if name not in _LIMITS:
            raise ValueError(f"{name}: there is no such limit: {', '.join(sorted(_LIMITS))}")
        if not equals:
            raise ValueError(f"{text}: not of the form {name}=SOFT[:HARD]")
        found = cls(name, _number(soft), _number(hard if colon else soft))
        if found.hard != resource.RLIM_INFINITY and not 0 <= found.soft <= found.hard:
            raise ValueError(f"{text}: the soft limit is above the hard one")
        return found

    def set(self) -> None:
        """Let it hold for this process and its children.

        Raises:
            Failure: it is above this process's own hard limit, and this is no root of the machine.
        """
        try:
            resource.setrlimit(_LIMITS[self.name], (self.soft, self.hard))
        except (OSError, ValueError) as error:
            own = resource.getrlimit(_LIMITS[self.name])[1]
            raise Failure(
                f"--ulimit {self.name}: {self.hard} cannot be had: the caller's own is {own}"
            ) from error


class Rights(NamedTuple):
    """Capabilities, limits, and whether programs give more."""

    kept: frozenset[int] | None = None  # capabilities; None: all
    new_privileges: bool = True  # whether set-user-ID programs and file capabilities give any
    limits: tuple[Limit, ...] = ()
    filter: bytes | None = None  # of system calls, as `syscalls.seccomp` takes it

    @classmethod
    def of(cls, record: ContainerRecord, *, privileged: bool) -> Rights:
        """Those of a container's processes, or with `privileged` all."""
        limits = tuple(map(Limit.parse, record.ulimits))
        if privileged:
            return cls(limits=limits, filter=_filter(record))
        kept = capabilities.kept(record.cap_add, record.cap_drop)
        return cls(kept, record.new_privileges, limits, _filter(record))

    @classmethod
    def of_step(cls) -> Rights:
        """Those of a build's command: docker's default."""
        kept = capabilities.kept((), ())
        filter_ = None
        from overlayfs_py.containers import seccomp_profile

        if seccomp_profile.is_known_here():
            from overlayfs_py.containers import seccomp_default, seccomp_program

            filter_ = seccomp_program.compiled(seccomp_default.default_profile(kept))
        return cls(kept, filter=filter_)

    def take(self) -> None:
        """Let them be this process's, for good; its user comes after that, then `confine`.

        Raises:
            Failure: a limit cannot be had, or system calls cannot be filtered.
        """
        for limit in self.limits:
            limit.set()
        if self.new_privileges:
            self._filter_calls()  # which takes a capability
        if self.kept is not None:
            capability_calls.keep_only(self.kept)
        if not self.new_privileges:
            namespaces.forbid_new_privileges()

    def confine(self) -> None:
        """Let no call remain that the filter forbids; to be called last.

        Raises:
            Failure: system calls cannot be filtered.
        """
        if not self.new_privileges:
            self._filter_calls()

    def _filter_calls(self) -> None:
        if self.filter is None:
            return
        try:
            seccomp.install(self.filter)
        except OSError as error:
            raise Failure(
                f"seccomp: {error.strerror}: system calls cannot be filtered here"
                " (--security-opt seccomp=unconfined does without)"
            ) from error


def _filter(record: ContainerRecord) -> bytes | None:
    """The program that the container's processes have, whatever else they are given."""
    if record.seccomp == UNCONFINED or (record.privileged and not record.seccomp):
        return None
    from overlayfs_py.containers import seccomp_profile

    if not seccomp_profile.is_known_here():
        return None
    from overlayfs_py.containers import seccomp_program

    return seccomp_program.compiled(profile_of(record))


def profile_of(record: ContainerRecord) -> Profile:
    """The rules on system calls of a container that has a filter.

    Raises:
        ValueError: its file makes no sense.
    """
    kept = capabilities.kept(("ALL",) if record.privileged else record.cap_add, record.cap_drop)
    if record.seccomp:
        from overlayfs_py.containers import seccomp_file

        return seccomp_file.parse(record.seccomp, kept)
    from overlayfs_py.containers import seccomp_default

    return seccomp_default.default_profile(kept)


def _number(text: str) -> int:
    if text in _UNLIMITED:
        return resource.RLIM_INFINITY
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{text!r}: not a number")
    return int(text)
