from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from pepr_edge.report import svg
with svg.open_figure() as (figure, axes):
    axes.plot([1, 2])
    print(svg._to_svg(figure, "x", "a line")[:4])
"""


def test_a_matplotlibrc_of_the_working_directory_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: none\nnonsense: 1\n")
    root = Path(__file__).resolve().parents[2]
    program = f"import sys; sys.path.insert(0, {str(root)!r})\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("<svg\n", "", 0)
