"""For all tests: in CI a skipped one has failed, and some are to be alone with the machine."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.checkout import show_to_everybody
from tests.support.lowers import NOT_OF_PACKS, as_packs
from tests.support.needs import is_quick, missing
from tests.support.workers import Room, hide_mounts, is_worker, room_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_IN_CI = bool(os.environ.get("CI"))
# What a busy machine takes is no fault of what is tested.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")
_ROOM = pytest.StashKey[Room | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lowers",
        choices=("directories", "packs"),
        default="directories",
        help="what our mounts get as lower layers: directories as they are, or packs of them",
    )
    parser.addoption("--quick", action="store_true", help="only what needs no mount")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us in the background has us ignore them, and with us all that tests start.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    show_to_everybody(config.rootpath)
    config.stash[_ROOM] = room_of(config)
    if is_worker(config):
        hide_mounts()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot be asked of packs, or is not asked for; skip what cannot run here."""
    left_out = set()
    if config.getoption("--lowers") == "packs":
        left_out = {item for item in items if item.nodeid.startswith(tuple(NOT_OF_PACKS))}
    if config.getoption("--quick"):
        left_out |= {item for item in items if not is_quick(item.nodeid)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        reason = missing(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def lowers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep `--lowers`."""
    if request.config.getoption("--lowers") == "directories":
        yield
        return
    with as_packs():
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)  # the time of waiting is not the test's
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    room = item.config.stash[_ROOM]
    with nullcontext() if room is None else room.held(item, nextitem):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # An expected failure is reported as a skip, too, and has its reason.
    if _IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {call.excinfo.value if call.excinfo else ''}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
