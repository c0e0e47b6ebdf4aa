"""What the machine offers to this process: how many jobs its CPUs and its memory carry.

The offer is the smallest of these, each looked at in :func:`offer`: the CPUs of the process'
affinity, which ``PYTHON_CPU_COUNT`` replaces; the CPU quota of its control group and of the groups
above it; and memory, of the machine and of the same groups, over the memory of one job.

Sources: cgroup-v2.rst, cgroup-v1/memory.rst and scheduler/sched-bwc.rst of the Linux kernel's
documentation; proc_pid_mountinfo(5), cgroups(7).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

__all__ = ["Considered", "Offer", "offer"]

_USUAL_CGROUP = PurePosixPath("/sys/fs/cgroup")
# Version 1 says "no limit" with the largest number of pages, in bytes.
_NO_LIMIT = 2**60


@dataclass(frozen=True)
class Considered:
    """One thing looked at.

    :param what: its name.
    :param jobs: how many jobs it allows; None: it sets no limit.
    :param note: why, for humans.
    """

    what: str
    jobs: int | None
    note: str


@dataclass(frozen=True)
class Offer:
    """How many jobs the machine carries, at least 1, and everything that was looked at."""

    jobs: int
    considered: tuple[Considered, ...]


def offer(
    *,
    memory_per_job: int,
    environ: Mapping[str, str] | None = None,
    proc: Path = Path("/proc"),
    cgroup: Path = Path("/sys/fs/cgroup"),
) -> Offer:
    """Look at the machine as it is now.

    :param memory_per_job: bytes to count on for each job.
    :param environ: where ``PYTHON_CPU_COUNT`` is looked up, by default ``os.environ``.
    :param proc: where procfs is mounted.
    :param cgroup: where the control groups that are usually in ``/sys/fs/cgroup`` are.
    """
    environ = os.environ if environ is None else environ
    override = _python_cpu_count(environ.get("PYTHON_CPU_COUNT", ""))
    considered = (
        _affinity(is_replaced=override.jobs is not None),
        _quota(_groups("cpu", proc=proc, cgroup=cgroup)),
        override,
        _machine_memory(proc / "meminfo", memory_per_job=memory_per_job),
        _group_memory(_groups("memory", proc=proc, cgroup=cgroup), memory_per_job=memory_per_job),
    )
    limits = [each.jobs for each in considered if each.jobs is not None]
    return Offer(min(limits), considered)


def _affinity(*, is_replaced: bool) -> Considered:
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
        note = f"this process may run on {count} of {os.cpu_count()} CPUs"
    else:  # pragma: no cover - every Linux has sched_getaffinity
        count = os.cpu_count() or 1
        note = f"the machine has {count} CPUs"
    if is_replaced:
        return Considered("CPU affinity", None, f"{note}, replaced by PYTHON_CPU_COUNT")
    return Considered("CPU affinity", count, note)


def _python_cpu_count(value: str) -> Considered:
    # https://docs.python.org/3/using/cmdline.html#envvar-PYTHON_CPU_COUNT
    if value in ("", "default"):
        return Considered("PYTHON_CPU_COUNT", None, value or "not set")
    if re.fullmatch("0*[1-9][0-9]{0,8}", value.strip()):
        return Considered("PYTHON_CPU_COUNT", int(value), "set in the environment")
    return Considered("PYTHON_CPU_COUNT", None, f"{value!r} ignored, not a whole number from 1")


def _quota(groups: list[_Group]) -> Considered:
    found: list[tuple[float, str]] = []
    for group in groups:
        if group.is_v2:
            quota, _, period = _read(group.folder / "cpu.max").partition(" ")
            period = period or "100000"
        else:
            quota = _read(group.folder / "cpu.cfs_quota_us")
            period = _read(group.folder / "cpu.cfs_period_us")
        # "max" in version 2 and "-1" in version 1 are no limit.
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            cpus = int(quota) / int(period)
            found.append((cpus, f"{cpus:.4g} CPUs in {group.folder}"))
    if not found:
        return Considered("CPU quota", None, "none")
    cpus, note = min(found)
    return Considered("CPU quota", max(1, ceil(cpus)), note)


def _machine_memory(meminfo: Path, *, memory_per_job: int) -> Considered:
    match = re.search(r"^MemAvailable:\s*([0-9]+) kB$", _read(meminfo), re.MULTILINE)
    if match is None:
        return Considered("available memory", None, "not known here")
    return _memory("available memory", int(match[1]) * 1024, memory_per_job=memory_per_job)


def _group_memory(groups: list[_Group], *, memory_per_job: int) -> Considered:
    found: list[tuple[int, str]] = []
    for group in groups:
        if group.is_v2:
            limit, usage, inactive = "memory.max", "memory.current", "inactive_file"
        else:
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
            # Of the group and of those below it, as the usage is.
            inactive = "total_inactive_file"
        limit, usage = _read(group.folder / limit), _read(group.folder / usage)
        if not limit.isdecimal() or not usage.isdecimal() or int(limit) >= _NO_LIMIT:
            continue
        # What only caches files is given back when a compiler asks for memory.
        stat = _read(group.folder / "memory.stat")
        match = re.search(rf"^{inactive} ([0-9]+)$", stat, re.MULTILINE)
        used = int(usage) - (int(match[1]) if match else 0)
        found.append((max(0, int(limit) - max(0, used)), f" in {group.folder}"))
    if not found:
        return Considered("memory limit", None, "none")
    free, where = min(found)
    return _memory("memory limit", free, memory_per_job=memory_per_job, where=where)


def _memory(what: str, free: int, *, memory_per_job: int, where: str = "") -> Considered:
    note = f"{_size(free)} free{where}, {_size(memory_per_job)} for each job"
    return Considered(what, max(1, free // memory_per_job), note)


def _size(size: int) -> str:
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size >= 1024**power:
            return f"{size / 1024**power:.4g} {unit}"
    return f"{size} B"


class _Group(NamedTuple):
    folder: Path
    is_v2: bool


class _Mount(NamedTuple):
    root: PurePosixPath
    point: PurePosixPath


def _groups(controller: str, *, proc: Path, cgroup: Path) -> list[_Group]:
    """This process' control groups that a controller may limit, their ancestors included.

    On a hybrid machine a controller is in one of the two versions, but both are mounted, so both
    are looked at: a group without the controller has no files of it.
    """
    groups: dict[_Group, None] = {}
    for line in _read(proc / "self" / "cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        is_v2 = hierarchy == "0" and not controllers
        if not is_v2 and controller not in controllers.split(","):
            continue
        mounts = list(_mounts(None if is_v2 else controller, proc=proc))
        for folder in _folders(PurePosixPath(path), mounts, cgroup=cgroup):
            groups[_Group(folder, is_v2)] = None
    return list(groups)


def _mounts(controller: str | None, *, proc: Path) -> Iterator[_Mount]:
    """Where version 1's controller, or version 2 (None), is mounted."""
    for line in _read(proc / "self" / "mountinfo").splitlines():
        # ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [FIELD...] - TYPE SOURCE SUPER-OPTIONS
        front, _, back = line.partition(" - ")
        fields, kind = front.split(" "), back.split(" ")
        if len(fields) < 6 or len(kind) < 3:
            continue
        if controller is None:
            is_wanted = kind[0] == "cgroup2"
        else:
            is_wanted = kind[0] == "cgroup" and controller in kind[2].split(",")
        if is_wanted:
            yield _Mount(PurePosixPath(_unescape(fields[3])), PurePosixPath(_unescape(fields[4])))


def _folders(path: PurePosixPath, mounts: list[_Mount], *, cgroup: Path) -> Iterator[Path]:
    """The folder of the group ``path`` in each mount, and those above it in the mount."""
    inside = [each for each in mounts if path.is_relative_to(each.root) and ".." not in path.parts]
    # A container may see its path as the host has it, or as one outside its own root ("/../x"),
    # while what is mounted is its own group.
    for mount in inside or mounts:
        point = Path(mount.point)
        if mount.point.is_relative_to(_USUAL_CGROUP):
            point = cgroup / mount.point.relative_to(_USUAL_CGROUP)
        below = path.relative_to(mount.root) if inside else PurePosixPath()
        yield from (point / each for each in (below, *below.parents))


def _unescape(field: str) -> str:
    # Space, tab, newline and backslash are written in octal.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _read(path: Path) -> str:
    """The text of a small kernel file; "" where it is missing or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""
