"""Pulls from a real registry, killed at any moment, by themselves and among others."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import parse_digest
from overlayfs_py.store.store import Store
from tests.support.oci_layout import digest, layer_of, write_layout
from tests.system.processes import wait_until
from tests.transfer.registries import PROGRAM
from tests.transfer.test_pull import fetched, push

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.docker_registry import DockerRegistry
    from tests.transfer.registries import Ours

LAYERS = [layer_of({f"usr/{n}": random.Random(n).randbytes((4 + n) << 20)}) for n in range(4)]
_POINTS = 6
_CROWD_S = 4


def kill_after(ours: Ours, name: str, delay_s: float) -> bool:
    """Pull and kill that; whether there still was something to kill."""
    command = [PROGRAM, "pull", "-q", "--root", ours.root, "--tls-verify=false", name]
    with subprocess.Popen(command, env=ours.environment, stdout=subprocess.DEVNULL) as process:
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def missing(store: Store) -> dict[str, int]:
    """How many bytes of each blob neither a layer nor a download has."""
    found = {}
    for layer in LAYERS:
        blob = digest(layer.blob)
        partial = store.root / "partial" / blob[7:]
        here = partial.stat().st_size if partial.exists() else 0
        if store.find_layer(parse_digest(digest(layer.tar))) is None and here < len(layer.blob):
            found[blob] = len(layer.blob) - here
    return found


def test_the_next_pull_fetches_what_is_missing_and_no_byte_more(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", LAYERS)
    killed = push(tmp_path / "oci", registry, "kills/killed:1")
    chance = random.Random(4)
    longest_s = 1.5
    for point in range(_POINTS):
        again = push(tmp_path / "oci", registry, f"kills/again{point}:1")
        while not kill_after(ours, killed, chance.uniform(0.1, longest_s)):
            longest_s *= 0.9
            ours("rmi", "--root", ours.root, killed)
        store = ours.store
        assert list(store.check()) == []
        wanted = missing(store)

        ours.pull(again)

        config = store.image(again).image_id
        path = f"/v2/kills/again{point}/blobs/"
        wait_until(
            lambda: len(fetched(registry, path)) == len(wanted) + 1,  # noqa: B023
            "the access log",
        )
        assert {
            blob: size for blob, size in fetched(registry, path).items() if blob != config
        } == wanted
        assert list(store.check(deep=True)) == []
        ours("image", "prune", "--root", ours.root, "-a", "-f")


def test_several_that_pull_remove_and_are_killed_leave_a_sound_store(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    names = []
    for number, chosen in enumerate(([0, 1], [1, 2], [0, 2, 3])):
        write_layout(tmp_path / str(number), [LAYERS[n] for n in chosen])
        names.append(push(tmp_path / str(number), registry, f"kills/crowd{number}:1"))
    script = tmp_path / "crowd"
    script.write_text(
        "while [ $(date +%s) -lt $1 ]; do\n"
        '  for name in $4; do timeout -s KILL $2 $3 pull -q --tls-verify=false "$name"; done\n'
        '  for name in $4; do $3 rmi -f "$name"; done\n'
        "done\n"
    )
    end = int(time.time()) + _CROWD_S
    environment = ours.environment | {"XDG_DATA_HOME": str(ours.home)}
    crowd = [
        subprocess.Popen(
            ["sh", script, str(end), f"{patience_s}", PROGRAM, " ".join(order)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for patience_s, order in ((0.7, names), (1.1, names[::-1]), (30, names), (30, names[1:]))
    ]
    for process in crowd:
        process.wait()

    store = Store.open(ours.home / "overlayfs-py")
    assert list(store.check(deep=True)) == []
    environment = ours.environment | {"XDG_DATA_HOME": str(ours.home)}
    subprocess.run([PROGRAM, "image", "prune", "-a", "-f"], env=environment, check=True)
    assert not any((store.root / "layers").iterdir())
    assert not any((store.root / "blobs/sha256").iterdir())
    assert not any((store.root / "partial").iterdir())
