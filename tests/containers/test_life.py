"""Talking to a monitor that is about to go."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers import door, life
from overlayfs_py.containers.state import NotRunning
from overlayfs_py.store.containers import ContainerRecord
from overlayfs_py.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ContainerRecord(
    id="7" * 64, name="web", created_ns=1, image="i", image_id="i", manifest="m", diff_ids=()
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store.open(tmp_path / "store")
    found.containers.directory(RECORD.id).mkdir(parents=True)
    return found


def listen(store: Store) -> socket.socket:
    directory_fd = os.open(store.containers.directory(RECORD.id), os.O_PATH)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"/proc/self/fd/{directory_fd}/{door.FILE}")  # sun_path holds 108 bytes
    os.close(directory_fd)
    listener.listen(1)
    return listener


def test_a_monitor_that_closes_its_door_is_not_running(store: Store) -> None:
    listener = listen(store)
    sock = life.connect(store, RECORD)
    life.request(sock, {"do": "wait"})
    listener.close()  # which resets what waits to be accepted

    with pytest.raises(NotRunning, match="web"):
        life.answer(sock, RECORD)
    sock.close()


def test_one_that_has_gone_before_it_is_asked_too(store: Store) -> None:
    listener = listen(store)
    sock = life.connect(store, RECORD)
    listener.close()
    life.request(sock, {"do": "wait"})

    with pytest.raises(NotRunning, match="web"):
        life.answer(sock, RECORD)
    sock.close()
