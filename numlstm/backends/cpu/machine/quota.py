"""How much of the machine the operating system grants: a container may see all cores, and have the time of two."""

from __future__ import annotations

import contextlib
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cpu_quota() -> float | None:
    """Cores whose time the control groups of this process may use; None where nothing limits it.

    A group has no more than the groups around it, so the smallest quota counts. Inside a container the group of the
    process is often what is mounted: the path of the group leads nowhere then, and the place of the mount is looked at.
    """
    quotas = [quota for group in _groups() if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def _groups() -> list[Path]:
    """The directories of this process's own groups, of both versions of cgroups, and of all around them."""
    groups = []
    with contextlib.suppress(OSError, ValueError):  # no Linux, or no /proc
        for line in OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            mount = MOUNTED / "cpu" if controllers else MOUNTED
            group = mount.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
            groups += [each for each in (group, *group.parents) if each.is_relative_to(mount)]
    return groups


def _quota(group: Path) -> float | None:
    """What one group says: a time in each period, which is no number, or -1, where all may be used."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        try:
            time, period = (group / "cpu.max").read_text().split()
        except FileNotFoundError:
            time, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        cores = int(time) / int(period)
        return cores if cores > 0 else None
    return None
