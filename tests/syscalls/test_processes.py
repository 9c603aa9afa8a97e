from __future__ import annotations

import os
import threading

from overlayfs_py.syscalls import namespaces
from overlayfs_py.syscalls.processes import fork_in_new_pid_namespace


def test_each_child_is_the_first_process_of_a_namespace_of_its_own() -> None:
    """In a child of ours, so that a user namespace is no trouble for other tests."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            uid, gid = os.geteuid(), os.getegid()
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            namespaces.map_to_root(uid, gid)
            code = 0 if [_first() for _ in range(3)] == [0, 0, 0] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _first() -> int:
    seen = []
    os.register_at_fork(after_in_child=lambda: seen.append("told"))
    pid = fork_in_new_pid_namespace()
    if not pid:
        # The interpreter works: it was told of the fork, and can start threads.
        thread = threading.Thread(target=lambda: seen.append("thread"))
        thread.start()
        thread.join()
        os._exit(0 if os.getpid() == 1 and seen == ["told", "thread"] else 3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
