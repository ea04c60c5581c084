"""The memory that a process may use."""

import psutil
import pytest

from course.machine import usable_memory

LIMIT = 3_000_000
UNLIMITED_V1 = 9223372036854771712


def tree(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")
    return root


LIMITED = {
    "version 2": {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": LIMIT},
    "version 2, in a group above": {
        "proc/self/cgroup": "0::/a/b",
        "sys/fs/cgroup/a/b/memory.max": "max",
        "sys/fs/cgroup/a/memory.max": LIMIT,
    },
    "version 1": {
        "proc/self/cgroup": "4:cpu,memory:/a\n0::/",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": LIMIT,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED_V1,
    },
    "version 1, the path is the host's": {
        "proc/self/cgroup": "4:memory:/docker/abc",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": LIMIT,
    },
}


@pytest.mark.parametrize("files", LIMITED.values(), ids=LIMITED)
def test_a_containers_limit_is_the_memory(tmp_path, files):
    assert usable_memory(tree(tmp_path, files)) == LIMIT


UNLIMITED = {
    "no control groups": {},
    "no limit": {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"},
    "no limit, version 1": {
        "proc/self/cgroup": "4:memory:/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED_V1,
    },
    "nothing at the path": {"proc/self/cgroup": "0::/../gone"},
    "not as expected": {"proc/self/cgroup": "memory\n::"},
    "a limit of another group": {"proc/self/cgroup": "0::/a", "sys/fs/memory.max": LIMIT},
}


@pytest.mark.parametrize("files", UNLIMITED.values(), ids=UNLIMITED)
def test_without_a_limit_it_is_the_machines(tmp_path, files):
    assert usable_memory(tree(tmp_path, files)) == psutil.virtual_memory().total
