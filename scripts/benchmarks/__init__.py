"""What `scripts/bench` measures, on whom, and how it says what it found.

command      arguments, rounds, progress
workload     what a workload is; `session` is one run of one on one side
reading, changing, copying, programs, crowds, starting, figures     the workloads, by family
sides        the filesystems that are compared; `mounts` is one of them mounted
stacks       the layers below
processes    commands that must not fail
results      medians and ratios; `table`, `chart` and `targets` show them, `machine` says where
"""
