from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import is_quick
from tests.system.unprivileged import as_user

SKIPPING = {
    "a test": "import pytest\ndef test_it():\n    pytest.skip('no device')\n",
    "a mark": "import pytest\n@pytest.mark.skip(reason='no device')\ndef test_it(): pass\n",
    "a module": "import pytest\npytest.skip('no device', allow_module_level=True)\n",
}


def run_pytest(directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).parent / "conftest.py", directory)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", directory],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("source", SKIPPING.values(), ids=SKIPPING.keys())
def test_what_skips_fails_in_ci(tmp_path: Path, source: str) -> None:
    (tmp_path / "test_it.py").write_text(source)

    elsewhere = run_pytest(tmp_path, {})
    in_ci = run_pytest(tmp_path, {"CI": "true"})

    assert elsewhere.returncode in {0, 5}  # 5: nothing was collected
    assert in_ci.returncode not in {0, 5}
    assert "no device" in in_ci.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n"
    (tmp_path / "test_it.py").write_text(source)

    assert run_pytest(tmp_path, {"CI": "true"}).returncode == 0


def test_without_root_what_needs_it_is_skipped_with_the_reason() -> None:
    pytest_as_user = as_user([sys.executable, "-m", "pytest", "-p", "no:cacheprovider"])
    both = ["tests/wire/test_inode_flags.py", "tests/layers/test_conformance.py"]

    told = subprocess.run(
        [*pytest_as_user, *both],
        cwd=Path(__file__).parent.parent,
        env={},  # without CI, in which what is skipped has failed
        capture_output=True,
        text=True,
    ).stdout

    assert " passed" in told
    assert "tests/layers/test_conformance.py: needs root" in told, told
    assert "error" not in told


def test_quick_leaves_out_what_needs_a_mount() -> None:
    assert is_quick("tests/wire/test_requests.py::test_any")
    assert is_quick("tests/layers/test_conformance.py::test_any")
    assert not is_quick("tests/drivers/test_files.py::test_any")
