from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
