"""The share of the cores that the operating system grants: a container may see all cores, and have the time of two."""

from __future__ import annotations

import contextlib
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_quota() -> float | None:
    """Cores whose time the control groups of this process may use; None where nothing limits it.

    A group has no more than the groups around it, so the smallest quota counts. Inside a container the group of the
    process is often mounted itself. Then the path of the group does not exist, and the quota is that of the mount.
    """
    quotas = [quota for group in _groups() if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def _groups() -> list[Path]:
    """The directories of the groups of this process, in both versions of cgroups, and of all groups around them."""
    groups = []
    with contextlib.suppress(OSError, ValueError):  # no Linux, or no /proc
        for line in MEMBERSHIP.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            mount = MOUNTED / "cpu" if controllers else MOUNTED
            group = mount.joinpath(*(part for part in name.split("/") if part not in ("", "..")))
            groups += [path for path in (group, *group.parents) if path.is_relative_to(mount)]
    return groups


def _quota(group: Path) -> float | None:
    """The quota of one group: a time in each period; the time is no number, or -1, where there is no limit."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        try:
            time, period = (group / "cpu.max").read_text().split()
        except FileNotFoundError:
            time, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        cores = int(time) / int(period)
        return cores if cores > 0 else None
    return None
