"""Promise P5: hooks in one process give what hooks in fresh processes give.

Every sample of `state_samples` is a sequence that goes wrong where plain setuptools' hooks share a
process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hook_sequences import Sample, call, differing_lines, project, run_fresh, run_together
from state_samples import SAMPLES
from state_samples.telling import METADATA, told_by

#: Samples that are run beside a thread, too, where each hook gets a fresh interpreter.
BESIDE_A_THREAD = sorted(SAMPLES)[::6]


@pytest.mark.parametrize(
    ("name", "beside_a_thread"),
    [
        *(pytest.param(name, False, id=name) for name in SAMPLES),
        *(pytest.param(name, True, id=f"{name}-beside a thread") for name in BESIDE_A_THREAD),
    ],
)
def test_one_process_gives_what_fresh_ones_give(
    name: str, beside_a_thread: bool, tmp_path: Path
) -> None:
    fresh = run_fresh(SAMPLES[name], tmp_path / name)
    together = run_together(SAMPLES[name], tmp_path / name, beside_a_thread=beside_a_thread)
    if together != fresh:
        pytest.fail("\n".join(differing_lines(fresh, together)), pytrace=False)


@pytest.mark.parametrize("beside_a_thread", [False, True])
def test_each_hook_has_a_process_of_its_own(beside_a_thread: bool, tmp_path: Path) -> None:
    files = project("one", setup=told_by("one", tells="os.getpid()"))
    sample = Sample(files=files, steps=[call(METADATA), call(METADATA)])
    outcomes = run_together(sample, tmp_path / "work", beside_a_thread=beside_a_thread)
    texts = {outcome["made"]["one-1.0.dist-info"][1]["METADATA"][1] for outcome in outcomes}
    assert len(texts) == 2
