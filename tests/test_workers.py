from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

# A test is in the room while its file is there. Each worker is given one half of them; the first of
# each half goes on only once both are there, so that the others in it have two workers to run them.
MODULE = """
import os, time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HALF = 60

def meet(number):
    (HERE / f"first-{number}").touch()
    deadline = time.monotonic() + 10
    while len(list(HERE.glob("first-*"))) < 2:
        assert time.monotonic() < deadline, "there is no other worker"
        time.sleep(0.001)

def number(value):
    alone = value % HALF >= HALF // 3
    return pytest.param(value, alone, marks=[pytest.mark.alone] if alone else [])

@pytest.mark.parametrize(("value", "alone"), map(number, range(2 * HALF)))
def test_it(value, alone):
    own = HERE / "room" / str(value)
    own.touch()
    if value % HALF == 0:
        meet(value)
    for _ in range(100):
        seen = os.listdir(HERE / "room")
        assert str(value) in seen
        assert len(seen) == 1 or not alone
    own.unlink()
"""


def test_no_other_worker_runs_a_test_beside_one_that_is_alone(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    (tmp_path / "test_it.py").write_text(MODULE)
    (tmp_path / "room").mkdir()
    options = ["-p", "no:cacheprovider", "--numprocesses=2", "--dist=worksteal"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--basetemp={tmp_path / 'base'}", tmp_path],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "120 passed" in done.stdout
