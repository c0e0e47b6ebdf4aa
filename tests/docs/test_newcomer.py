"""What `long_newcomer.py` takes from the README; its commands are not run here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness import REPOSITORY
from long_newcomer import Machine, _FailedError, follow

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CLOSING = "parallel-backend: 16 compiled, 4 linked, 0 reused in 7.5 s on 2 jobs (1.3 busy)"


class Notes(Machine):
    """Runs nothing, and prints what the README promises, or `said` for a command."""

    def __init__(self, home: Path, said: Mapping[str, str]) -> None:
        super().__init__(home)
        self.commands: list[str] = []
        self._said = said

    def clone_repository(self) -> None:
        pass

    def run(self, command: str, *, more: Mapping[str, str] | None = None, cwd: str = "") -> str:
        self.commands.append(command)
        for word, text in self._said.items():
            if word in command:
                return text
        if "pytest" in command:
            return "=== 12 passed in 3.00s ==="
        return "#\n" * 24 if "mandelbrot" in command else f"{CLOSING}\n"


def test_the_readmes_own_words_are_followed(tmp_path: Path) -> None:
    machine = Notes(tmp_path, {})
    follow(machine, README, whole=False)
    typed = [each for each in machine.commands if f"$ {each}" in README or f"`{each}`" in README]
    assert len(typed) == 4  # build the example, draw, test, switch a project
    assert "parallel-backend init --in-tree --yes" in typed[-1]


@pytest.mark.parametrize(
    ("word", "printed", "told"),
    [
        ("./examples/fractal", "16 compiled", "not printed"),
        ("mandelbrot", "", "draws nothing"),
        ("pytest", "=== 1 failed, 12 passed in 3.00s ===", "did not pass"),
        ("./project", "Successfully installed multidict", "not built by the backend"),
    ],
)
def test_what_does_not_hold_is_told(tmp_path: Path, word: str, printed: str, told: str) -> None:
    with pytest.raises(_FailedError, match=told):
        follow(Notes(tmp_path, {word: printed}), README, whole=False)
