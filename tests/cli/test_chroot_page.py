"""Each sentence of `chroot`'s page in docs/CLI.md has the tests that hold it."""

from __future__ import annotations

import re
from pathlib import Path

from overlayfs_py.cli import run_arguments
from overlayfs_py.cli.base_stack import BaseStack
from overlayfs_py.image.config import RunConfig

_HERE = Path(__file__).parent
_PAGE = _HERE.parents[1] / "docs/CLI.md"

# How a sentence begins, and its tests.
_HELD = {
    "Runs CMD, or": "the_command_is_root_in_a_writable_root without_a_command_there_is_a_shell",
    "Options may stand before": "options_of_the_command_are_not_ours",
    "A LAYER is": "layers_stack_topmost_first an_image_comes_last_among_layers",
    "What begins with": "a_path_is_told_by_its_beginning what_stands_before_an_image_is_a_path",
    "Any other name": "an_image_is_found_by_its_whole_name"
    " the_beginning_of_an_id_gives_way_to_a_file",
    "As many of the last words": "an_image_comes_last_among_layers",
    "Of an image that is not here": "what_is_not_here_is_told_how_to_get a_pull_that_fails_is_125",
    "An image's environment": "an_image_has_its_user_and_directory",
    "Its working directory": "an_image_has_its_user_and_directory",
    "Variables without": "what_an_image_says_wrongly_is_left_out",
    "`-v`": "volumes_are_the_hosts_own_directories a_volume_may_be_a_file",
    "What is written there stays": "volumes_are_the_hosts_own_directories a_volume_may_be_a_file",
    "A HOST that is not there": "a_volume_that_is_not_there_is_refused",
    "`-e`, `--env`": "the_environment_is_the_containers_own home_is_the_users",
    "`-e K`": "a_variable_without_a_value_is_the_callers",
    "`-w`": "the_command_starts_where_it_is_told what_is_our_failure_is_125",
    "`-u`": "the_user_is_looked_up_in_the_image a_user_that_is_none_is_refused",
    "`--entrypoint`": "the_entrypoint_can_be_another",
    "`-t`": "a_terminal_is_made_where_there_is_none",
    "`-i`": "a_terminal_is_made_where_there_is_none",
    "`--read-only`": "a_read_only_root_leaves_volumes_and_tmpfs",
    "`--tmpfs`": "a_read_only_root_leaves_volumes_and_tmpfs",
    "`--upper-limit BYTES`": "volumes_and_chroot",
    "`--keep DIR`": "missing_mountpoints_are_there_and_leave_nothing",
    "A second run continues": "a_kept_upper_holds_the_work",
    "DIR is closed": "it_is_made_closed one_of_ours_is_closed one_of_another_user_is_refused"
    " a_link_is_refused a_directory_of_other_things_stays_as_it_is",
    "The throw-away upper": "the_work_of_a_command_is_gone_when_it_ends",
    "It lies in": "a_machine_without_room_for_temporary_files_is_125",
    "CMD finds": "proc_shows_the_container_alone devices_work sys_is_there_to_read"
    " missing_mountpoints_are_there_and_leave_nothing",
    "It sees no mount": "proc_shows_the_container_alone",
    "Host name": "the_host_name_is_the_containers_own"
    " shared_memory_of_system_v_is_the_containers_own",
    "Nothing that the caller": "nothing_of_the_host_is_open_inside"
    " a_descriptor_of_the_caller_is_closed_in_the_command",
    "`/etc/resolv.conf`": "names_resolve_as_on_the_host the_files_of_names_are_in_no_upper",
    "Where the image has something": "a_link_for_a_file_of_names_leads_nowhere",
    "Everything in `/sys`": "nothing_below_sys_can_be_changed"
    " what_else_is_mounted_below_sys_is_not_seen the_kernels_settings_in_proc_cannot_be_changed"
    " memory_and_keys_in_proc_are_masked masks_stay_in_a_namespace_of_the_containers_own",
    "Where the kernel allows": "where_proc_is_masked_the_command_never_sees_the_hosts",
    "Root inside": "root_has_dockers_rights_and_no_more what_needs_other_rights_is_refused",
    "A device works": "a_device_that_the_command_makes_is_none a_device_of_a_layer_is_none",
    "`--privileged`": "privileged_gives_root_its_rights a_device_of_a_layer_is_none",
    "An ordinary user": "an_ordinary_user_with_subordinate_ids_has_all_owners"
    " where_newuidmap_is_refused_there_is_one_owner",
    "Run by root": "root_has_dockers_rights_and_no_more",
    "Where stdin": "the_command_has_a_terminal_of_its_own"
    " the_users_terminal_is_as_it_was_at_the_end the_users_terminal_is_as_it_was_after_a_kill"
    " a_file_gets_what_the_command_writes_as_it_is"
    " stdout_alone_is_no_way_to_the_users_terminal",
    "Sizes": "it_has_the_size_of_the_users_and_follows_it"
    " stopped_it_leaves_the_terminal_and_goes_on"
    " interrupt_on_the_terminal_reaches_the_command_once a_stopped_container_does_nothing",
    "The mount exists": "the_mount_is_seen_by_nobody_outside",
    "SIGTERM and SIGHUP": "a_signal_to_us_reaches_the_command a_stopped_container_does_nothing"
    " patience_with_a_command_that_does_not_end_is_limited",
    "After kill -9": "kill_of_the_supervisor_leaves_nothing kill_of_init_ends_the_container"
    " kill_of_the_whole_group_leaves_nothing",
}


def _sentences() -> list[str]:
    section = _PAGE.read_text().partition("## overlayfs-py chroot\n")[2].partition("\n## ")[0]
    found: list[str] = []
    for block in re.split(r"\n\n|\n- ", section):
        text = " ".join(block.split())
        if text and not text.startswith(("#", "overlayfs-py")):
            found += re.split(r"(?<=[.])\s+(?=[A-Z`])", text.removeprefix("- "))
    return found


def test_each_sentence_has_a_test_and_each_test_a_sentence() -> None:
    sentences = _sentences()

    assert [text for text in sentences if not text.startswith(tuple(_HELD))] == []
    assert [key for key in _HELD if not any(text.startswith(key) for text in sentences)] == []


def test_the_tests_are_there() -> None:
    places = [*_HERE.glob("test_chroot*.py"), *(_HERE.parent / "containers").glob("*.py")]
    places += [_HERE.parent / "system/test_chroot.py", _HERE.parent / "life/test_upper_limit.py"]
    written = {
        name for place in places for name in re.findall(r"def test_(\w+)\(", place.read_text())
    }
    assert {name for names in _HELD.values() for name in names.split()} <= written


def test_what_an_image_says_wrongly_is_left_out() -> None:
    run = RunConfig(env=("FOO", "A=b", "=x", ""), entrypoint=("",), cmd=("/bin/echo", "fine"))
    base = BaseStack((b"layer",), "image", run)
    environment = run_arguments.environment_of(base, (), ())
    process = run_arguments.process_of(
        base, (), environment, directory=None, user=None, entrypoint=None
    )

    assert environment.keys() - {b"TERM"} == {b"PATH", b"A"}
    assert process.words == (b"/bin/echo", b"fine")
