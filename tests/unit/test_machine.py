from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_backend import machine
from parallel_backend.machine import Considered, Offer

MIB = 2**20

V2_MOUNT = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
TMPFS = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755"


class Tree:
    """A made-up /proc and /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.cgroup = root / "cgroup"
        (self.proc / "self").mkdir(parents=True)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.cgroup / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    def mounted(self, *lines: str, groups: str, available: int = 10**6 * MIB) -> Tree:
        (self.proc / "self" / "mountinfo").write_text("\n".join((TMPFS, "not a mount", *lines)))
        (self.proc / "self" / "cgroup").write_text(groups)
        (self.proc / "meminfo").write_text(
            f"MemTotal:       999 kB\nMemAvailable:   {available // 1024} kB\n"
        )
        return self

    def offer(self, **environ: str) -> Offer:
        return machine.offer(
            memory_per_job=512 * MIB, environ=environ, proc=self.proc, cgroup=self.cgroup
        )


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 36)
    return Tree(tmp_path)


def considered(offer: Offer, what: str) -> Considered:
    (found,) = [each for each in offer.considered if each.what == what]
    return found


def test_this_machine_offers_at_least_one_job() -> None:
    offer = machine.offer(memory_per_job=512 * MIB)
    assert offer.jobs >= 1
    assert [each.what for each in offer.considered] == [
        "CPU affinity",
        "CPU quota",
        "PYTHON_CPU_COUNT",
        "available memory",
        "memory limit",
    ]


def test_without_any_limit_the_affinity_decides(tree: Tree) -> None:
    offer = tree.mounted(V2_MOUNT, groups="0::/\n").offer()
    assert offer.jobs == 16
    assert considered(offer, "CPU affinity") == Considered(
        "CPU affinity", 16, "this process may run on 16 of 36 CPUs"
    )


def test_without_proc_the_affinity_decides(tree: Tree) -> None:
    offer = tree.offer()
    assert offer.jobs == 16
    assert considered(offer, "available memory") == Considered(
        "available memory", None, "not known here"
    )
    assert considered(offer, "CPU quota") == Considered("CPU quota", None, "none")
    assert considered(offer, "memory limit") == Considered("memory limit", None, "none")


@pytest.mark.parametrize(
    ("quota", "jobs"),
    [
        ("400000 100000", 4),
        ("410000 100000", 5),
        ("1000 100000", 1),
        ("250000 50000", 5),
        ("300000", 3),
        ("max 100000", 16),
        ("nonsense", 16),
        ("100000 0", 16),
    ],
)
def test_version_2_quota_is_rounded_up(tree: Tree, quota: str, jobs: int) -> None:
    tree.write({"a/b/cpu.max": quota})
    assert tree.mounted(V2_MOUNT, groups="0::/a/b\n").offer().jobs == jobs


def test_the_smallest_quota_of_the_ancestors_counts(tree: Tree) -> None:
    tree.write({"a/b/c/cpu.max": "max 100000", "a/b/cpu.max": "300000 100000"})
    tree.write({"a/cpu.max": "200000 100000", "cpu.max": "900000 100000"})
    tree.write({"other/cpu.max": "100000 100000"})
    offer = tree.mounted(V2_MOUNT, groups="0::/a/b/c\n").offer()
    assert considered(offer, "CPU quota") == Considered(
        "CPU quota", 2, f"2 CPUs in {tree.cgroup / 'a'}"
    )


def test_version_1_quota_of_a_container_that_sees_the_hosts_path(tree: Tree) -> None:
    # Docker without a cgroup namespace: path and mount root both name the container.
    tree.write({"cpu,cpuacct/cpu.cfs_quota_us": "350000"})
    tree.write({"cpu,cpuacct/cpu.cfs_period_us": "100000"})
    tree.mounted(V1_CPU.format(root="/docker/x"), groups="4:cpu,cpuacct:/docker/x\n1:name=z:/\n")
    assert tree.offer().jobs == 4


@pytest.mark.parametrize("path", ["/kubepods/pod7", "/../outside", "/"])
def test_a_path_outside_of_what_is_mounted_falls_back_to_the_mount(tree: Tree, path: str) -> None:
    tree.write({"cpu,cpuacct/cpu.cfs_quota_us": "200000"})
    tree.write({"cpu,cpuacct/cpu.cfs_period_us": "100000"})
    tree.mounted(V1_CPU.format(root="/docker/x"), groups=f"4:cpu,cpuacct:{path}\n")
    assert tree.offer().jobs == 2


def test_a_path_that_leaves_its_mount_is_not_followed(tree: Tree) -> None:
    tree.write({"cpu.max": "200000 100000"})
    (tree.cgroup.parent / "cpu.max").write_text("100000 100000\n")
    assert tree.mounted(V2_MOUNT, groups="0::/../x\n").offer().jobs == 2


def test_version_1_without_quota_sets_no_limit(tree: Tree) -> None:
    tree.write({"cpu,cpuacct/cpu.cfs_quota_us": "-1"})
    tree.write({"cpu,cpuacct/cpu.cfs_period_us": "100000"})
    assert tree.mounted(V1_CPU.format(root="/"), groups="4:cpu,cpuacct:/\n").offer().jobs == 16


def test_hybrid_mounts_are_both_looked_at(tree: Tree) -> None:
    unified = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    tree.write({"cpu,cpuacct/g/cpu.cfs_quota_us": "500000"})
    tree.write({"cpu,cpuacct/g/cpu.cfs_period_us": "100000"})
    tree.write({"unified/cgroup.procs": ""})
    tree.mounted(
        V1_CPU.format(root="/"),
        V1_MEMORY.format(root="/"),
        unified,
        groups="4:memory:/\n1:cpu,cpuacct:/g\n0::/\n",
    )
    assert tree.offer().jobs == 5


def test_a_mount_elsewhere_with_a_space_in_its_name_is_found(tree: Tree, tmp_path: Path) -> None:
    elsewhere = tmp_path / "my groups"
    elsewhere.mkdir()
    (elsewhere / "cpu.max").write_text("300000 100000")
    point = str(elsewhere).replace(" ", r"\040")
    tree.mounted(f"30 20 0:26 / {point} rw - cgroup2 cgroup2 rw", groups="0::/\n")
    assert tree.offer().jobs == 3


@pytest.mark.parametrize(
    ("value", "jobs", "counted", "note"),
    [
        ("3", 3, 3, "set in the environment"),
        ("99", 99, 99, "set in the environment"),
        ("default", 16, None, "default"),
        ("", 16, None, "not set"),
        ("0", 16, None, "'0' ignored, not a whole number from 1"),
        ("many", 16, None, "'many' ignored, not a whole number from 1"),
    ],
)
def test_python_cpu_count_replaces_the_cpu_count(
    tree: Tree, value: str, jobs: int, counted: int | None, note: str
) -> None:
    offer = tree.mounted(V2_MOUNT, groups="0::/\n").offer(PYTHON_CPU_COUNT=value)
    assert offer.jobs == jobs
    assert considered(offer, "PYTHON_CPU_COUNT") == Considered("PYTHON_CPU_COUNT", counted, note)
    affinity = considered(offer, "CPU affinity")
    assert (affinity.jobs is None) == (counted is not None)
    assert ("replaced by PYTHON_CPU_COUNT" in affinity.note) == (counted is not None)


def test_python_cpu_count_does_not_lift_a_quota(tree: Tree) -> None:
    tree.write({"cpu.max": "200000 100000"})
    assert tree.mounted(V2_MOUNT, groups="0::/\n").offer(PYTHON_CPU_COUNT="8").jobs == 2


def test_python_cpu_count_is_read_from_the_real_environment(
    monkeypatch: pytest.MonkeyPatch, tree: Tree
) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", "5")
    assert machine.offer(memory_per_job=1, proc=tree.proc, cgroup=tree.cgroup).jobs == 5


@pytest.mark.parametrize(("available", "jobs"), [(1600, 3), (511, 1), (0, 1), (512 * 99, 16)])
def test_available_memory_holds_so_many_jobs_but_one_at_least(
    tree: Tree, available: int, jobs: int
) -> None:
    tree.mounted(V2_MOUNT, groups="0::/\n", available=available * MIB)
    assert tree.offer().jobs == jobs


def test_the_note_on_memory_tells_both_sizes(tree: Tree) -> None:
    offer = tree.mounted(V2_MOUNT, groups="0::/\n", available=1536 * MIB).offer()
    assert considered(offer, "available memory") == Considered(
        "available memory", 3, "1.5 GiB free, 512 MiB for each job"
    )
    offer = machine.offer(memory_per_job=9, environ={}, proc=tree.proc, cgroup=tree.cgroup)
    assert considered(offer, "available memory").note == "1.5 GiB free, 9 B for each job"


def v2_memory(limit: object, usage: int, inactive: int) -> dict[str, str]:
    return {
        "memory.max": str(limit),
        "memory.current": str(usage),
        "memory.stat": f"active_file 7\ninactive_file {inactive}\n",
    }


def v1_memory(limit: int, usage: int, inactive: int) -> dict[str, str]:
    return {
        "memory.limit_in_bytes": str(limit),
        "memory.usage_in_bytes": str(usage),
        "memory.stat": f"inactive_file 7\ntotal_inactive_file {inactive}\n",
    }


def under(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("limit", "usage", "inactive", "jobs"),
    [
        (4096, 1024, 0, 6),
        (4096, 4096, 2048, 4),
        (4096, 4096, 0, 1),
        (1024, 4096, 0, 1),
        (2048, 512, 4096, 4),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_memory_limit_counts_file_cache_as_free(
    tree: Tree, version: int, limit: int, usage: int, inactive: int, jobs: int
) -> None:
    sizes = (limit * MIB, usage * MIB, inactive * MIB)
    if version == 2:
        tree.write(under("box", v2_memory(*sizes)))
        tree.mounted(V2_MOUNT, groups="0::/box\n")
    else:
        tree.write(under("memory/box", v1_memory(*sizes)))
        tree.mounted(V1_MEMORY.format(root="/"), groups="7:memory:/box\n")
    assert tree.offer().jobs == jobs


def test_memory_limit_of_an_ancestor_counts(tree: Tree) -> None:
    tree.write(under("a", v2_memory(1024 * MIB, 0, 0)))
    tree.write(under("a/b", v2_memory("max", 0, 0)))
    tree.write(under("a/b/c", v2_memory(8192 * MIB, 0, 0)))
    offer = tree.mounted(V2_MOUNT, groups="0::/a/b/c\n").offer()
    assert considered(offer, "memory limit") == Considered(
        "memory limit", 2, f"1 GiB free in {tree.cgroup / 'a'}, 512 MiB for each job"
    )


def test_version_1_without_a_memory_limit_sets_none(tree: Tree) -> None:
    tree.write(under("memory", v1_memory(9223372036854771712, 5, 0)))
    offer = tree.mounted(V1_MEMORY.format(root="/"), groups="7:memory:/\n").offer()
    assert considered(offer, "memory limit").jobs is None


def test_a_memory_limit_without_statistics_counts(tree: Tree) -> None:
    files = v2_memory(2048 * MIB, 512 * MIB, 0)
    del files["memory.stat"]
    tree.write(files)
    assert tree.mounted(V2_MOUNT, groups="0::/\n").offer().jobs == 3


@pytest.mark.parametrize(
    "breaks",
    [
        lambda tree: tree.cgroup.write_text("a file where a folder should be"),
        lambda tree: (tree.proc / "self" / "mountinfo").write_bytes(b"\xff\xfe - \xff"),
        lambda tree: (tree.proc / "self" / "cgroup").write_bytes(b"\xff\n::\n\n0::\n"),
        lambda tree: (tree.proc / "meminfo").write_text("MemAvailable: lots\n"),
    ],
)
def test_what_cannot_be_read_sets_no_limit(tree: Tree, breaks: Callable[[Tree], object]) -> None:
    tree.mounted(V2_MOUNT, groups="0::/\n")
    breaks(tree)
    assert tree.offer().jobs == 16
