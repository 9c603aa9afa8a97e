"""A container's snapshots killed at random moments: its files are those of before, or of after.

`snapshot`, `restore`, `reset`, `branch` and `commit`, of containers that run and of others. After
each kill the next commands find one of the two states whole, all snapshots with what they held, and
neither a branch nor an image of anything else. `scripts/verify-container-kills --snapshots` does it
as often as you like.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.life.kills import Killing
from tests.system.processes import wait_until

_LOOP = "trap 'exit 0' TERM; while :; do sleep 0.05; done # "
# A state is in files of the container's own and in the image's, in directories that come and go.
_WRITE = """
set -e; mkdir -p /data
for f in 0 1 2 3 4 5 6 7 8 9; do echo {n} > /data/$f; done
rm -rf /data/of-*; mkdir /data/of-{n}; echo {n} > /data/of-{n}/file
echo {n} > /etc/group
if [ -e /home/data/kept ]; then rm /home/data/kept; else echo {n} > /home/data/kept; fi
"""
_READ = "cat /etc/group /data/[0-9] /data/of-*/file /home/data/kept; ls /data /home/data"
_PER_CONTAINER = 8  # kills
_LONGEST_S = 0.6  # that a command takes
_LONGEST_CHANGE_S = 0.03  # from the moment at which it begins to change something
_ACTIONS = ("snapshot", "restore", "reset", "branch", "commit")


@dataclass
class _Subject:
    """A container, and what is known of it."""

    name: str
    text: str  # what its files are
    below: set[str]  # what `reset` may find
    tags: dict[str, str] = field(default_factory=dict)  # what each snapshot holds
    number: int = 0  # of its last state
    kills: int = 0


class SnapshotKilling(Killing):
    """Rounds of one engine, several with one container."""

    _subject: _Subject | None = None

    def round(self) -> None:
        """Do one; AssertionError where a state is none, or something is left."""
        subject = self._subject = self._subject or self._begin_one()
        self._write(subject)
        action = self._random.choice(_ACTIONS)
        runs = action == "reset" or self._random.random() < 0.75
        if not runs:
            self._engine("stop", "-t", "0", subject.name)
        tag = self._random.choice([*subject.tags, ""]) if action == "branch" else ""
        tag = self._random.choice([*subject.tags]) if action == "restore" else tag
        role = self._interrupt(subject, self._words(subject, action, tag))
        self.killed[f"{action}{'' if runs else ' of a stopped one'}: {role}"] += 1
        try:
            self._require_a_state(subject, action, tag)
            subject.kills += 1
            if subject.kills >= _PER_CONTAINER:
                self._finish()
        except BaseException as error:
            error.add_note(f"after a kill of {role} at {action} {tag}, running: {runs}")
            raise

    def end(self) -> None:
        """Look at the last container, and see that nothing is left."""
        if self._subject is not None:
            self._finish()

    # A container's states.

    def _begin_one(self) -> _Subject:
        name = f"s{self._random.randrange(10**9)}"
        options = self._random.choice([[], ["--upper-limit", "64m"]])
        self._engine("run", "-d", "--name", name, *options, "small:1", "sh", "-c", _LOOP + name)
        text = self._read(name)
        subject = _Subject(name, text, {text})
        self._write(subject)
        self._engine("snapshot", name, "first")
        subject.tags["first"] = subject.text
        subject.below = {subject.text}
        return subject

    def _write(self, subject: _Subject) -> None:
        subject.number += 1
        self._engine("exec", subject.name, "sh", "-c", _WRITE.format(n=subject.number))
        subject.text = self._read(subject.name)

    def _read(self, name: str) -> str:
        return self._engine.attempt("exec", name, "sh", "-c", _READ).stdout

    def _words(self, subject: _Subject, action: str, tag: str) -> list[str]:
        name = subject.name
        return {
            "snapshot": ["snapshot", name, self._next_tag(subject)],
            "restore": ["restore", name, tag],
            "reset": ["reset", name],
            "branch": ["branch", *([f"--from={tag}"] if tag else []), name, f"{name}-branch"],
            "commit": ["commit", name, f"{name}:1"],
        }[action]

    @staticmethod
    def _next_tag(subject: _Subject) -> str:
        return f"t{subject.number}"

    # A kill.

    def _interrupt(self, subject: _Subject, words: list[str]) -> str:
        directory = self._directory(subject.name)
        victims = self._victims(directory)
        pipe = subprocess.PIPE
        argv, environment = self._engine.argv(*words), self._engine.environment
        with subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe) as command:
            self._await_the_moment(directory, command)
            victims["command"] = [command.pid]
            victims["command's child"] = _children(command.pid)
            role = self._random.choice([role for role, pids in victims.items() if pids])
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(victims[role]), signal.SIGKILL)
            command.communicate(timeout=60)
        return role

    def _await_the_moment(self, directory: Path, command: subprocess.Popen[bytes]) -> None:
        """Any moment of the command's, or one soon after it has begun to change something."""
        if self._random.random() < 0.4:
            time.sleep(self._random.uniform(0, _LONGEST_S))
            return
        staging = directory.parent.parent / "staging"
        deadline = time.monotonic() + 5

        def has_begun() -> bool:
            return bool(os.listdir(staging)) or any(
                name.startswith("next-") for name in os.listdir(directory)
            )

        while command.poll() is None and not has_begun() and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(self._random.uniform(0, _LONGEST_CHANGE_S))

    def _victims(self, directory: Path) -> dict[str, list[int]]:
        """What belongs to a container that runs."""
        state = json.loads((directory / "state.json").read_text())
        if state["status"] != "running":
            return {}
        monitor, first = state["monitor_pid"], state["pid"]
        daemons = [pid for pid in _children(monitor) if _serves(pid)]
        return {"monitor": [monitor], "first process": [first], "daemon": daemons}

    def _directory(self, name: str) -> Path:
        ident = self._engine("ps", "-aq", "--no-trunc", "--filter", f"name={name}").split()[0]
        return self._engine.containers / ident

    # What is there afterwards.

    def _require_a_state(self, subject: _Subject, action: str, tag: str) -> None:
        self._settle(subject.name)
        before, known = subject.text, set(subject.tags)
        tags = set(self._engine("snapshot", "ls", "-q", subject.name).split())
        new = {self._next_tag(subject)} if action == "snapshot" else set()
        assert known <= tags <= known | new, (tags, known)
        possible = {before}
        if action == "restore":
            possible.add(subject.tags[tag])
        elif action == "reset":
            possible |= subject.below
        self._require_other(subject, action, before if not tag else subject.tags[tag])
        found = self._read(subject.name)
        assert found in possible, (found, possible)

        if tags - known:
            subject.tags[self._next_tag(subject)] = before
            subject.below = {before}
        elif action == "branch":
            subject.below |= {before}
        elif action == "restore" and found != before:
            subject.below = {found}
        subject.text = found
        self._engine("store", "prune")
        assert self._engine("store", "fsck").strip() == "nothing is wrong"

    def _settle(self, name: str) -> None:
        """Have the container run, whatever was killed."""
        wait_until(self._nothing_starts, "the end of what was under way", seconds=60)
        state = self._state(name)
        assert state in ("running", "exited"), state
        if state == "exited":
            self._engine("start", name)

    def _state(self, name: str) -> str:
        listed = self._engine("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
        return dict(map(str.split, listed))[name]  # type: ignore[call-overload,no-any-return]

    def _require_other(self, subject: _Subject, action: str, expected: str) -> None:
        """A branch or an image is there whole, or not at all."""
        name = subject.name
        if action == "commit" and self._engine("images", "-q", name):
            assert (
                self._engine.attempt(*("run", "--rm", f"{name}:1", "sh", "-c", _READ)).stdout
                == expected
            )
            self._engine("rmi", f"{name}:1")
        branches = self._engine("ps", "-aq", "--filter", f"name={name}-branch").split()
        for branch in branches:
            self._engine("start", branch)
            assert self._read(branch) == expected
            self._engine("rm", "-f", branch)

    def _finish(self) -> None:
        subject, self._subject = self._subject, None
        assert subject is not None
        for tag, text in sorted(subject.tags.items(), key=lambda each: self._random.random()):
            self._engine("restore", subject.name, tag)
            assert self._read(subject.name) == text, tag
        self._put_right()
        self._require_nothing_left(subject.name)
        snapshots = self._engine.containers.parent / "snapshots"
        assert not snapshots.exists() or os.listdir(snapshots) == []


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return []


def _serves(pid: int) -> bool:
    with suppress(OSError):
        opened = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        return "/dev/fuse" in opened
    return False
