"""What this machine has."""

from collections.abc import Iterator
from pathlib import Path

import psutil


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may use: the machine's, or less if a container limits it.

    root: where /proc and /sys are.
    """
    return min([psutil.virtual_memory().total, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """What Linux's control groups, version 2 and 1, allow this process and the groups above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        controllers, _, group = line.partition(":")[2].partition(":")
        if not controllers:
            mounted, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mounted, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        folder = mounted / group.lstrip("/")
        # A container may see its group at the mount, and a path to it that does not exist there.
        for above in (folder, *folder.parents):
            if above.is_relative_to(mounted):
                try:
                    yield int((above / name).read_text())
                except (OSError, ValueError):  # no such file, or "max"
                    continue
