"""Changes of a volume on behalf of the user who asks, under the host's rules for that user.

The kernel has checked permissions before it sends a request, by attributes that it heard some time
ago: a file that is open may have been given to another user since. So what only owners may do is
done with the ids of the user who asks, and the host looks at the owner that there is.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.syscalls.credentials import acting_as, may_act_as_others

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.values import Creator


class Caller(Protocol):
    """Who asks, as the users of the mount see ids."""

    @property
    def uid(self) -> int:
        """The user."""

    @property
    def gid(self) -> int:
        """The group."""

    @property
    def pid(self) -> int:
        """The thread, which waits for the answer; 0 where it is not of our PID namespace."""


def owners_rules(
    state: State, node: Node, *, gid: int | None = None
) -> AbstractContextManager[None]:
    """While the body changes what only an owner may, be the caller; with the group `gid` on disk.

    Nothing changes outside of volumes, of which we are the only writer, and for root.
    """
    caller = state.caller
    if node.cacheable or caller is None or caller.uid == 0 or state.spec.ids.squash_uid is not None:
        return nullcontext()
    ids = state.upper_ids
    uid = ids.disk_uid(caller.uid)
    if uid == os.geteuid() and not may_act_as_others():
        return nullcontext()  # they are the host's rules for this process
    return acting_as(uid, ids.disk_gid(caller.gid) if gid is None else gid, owners_rules=True)


def making_for(
    state: State, creator: Creator, *, owners_rules: bool = False
) -> AbstractContextManager[None]:
    """While the body makes an object, be its creator: it never has another owner."""
    uid, gid = state.upper_ids.disk_uid(creator.uid), state.upper_ids.disk_gid(creator.gid)
    if uid == os.geteuid() and (gid == os.getegid() or not may_act_as_others()):
        return nullcontext()
    return acting_as(uid, gid, owners_rules=owners_rules)


def group_for_mode(state: State, node_gid: int) -> int | None:
    """The group to change a mode with that has the set-group-ID bit; None for the caller's own.

    One that is not a member of a file's group loses the bit (chmod(2)).
    """
    caller = state.caller
    if caller is None or caller.pid <= 0:
        return None
    try:
        with open(f"/proc/{caller.pid}/status") as status:
            groups = next((line for line in status if line.startswith("Groups:")), "Groups:")
    except OSError:  # killed, or not to be seen from here: without those groups
        return None
    member = state.upper_ids.seen_gid(node_gid) in map(int, groups.split()[1:])
    return node_gid if member else None
