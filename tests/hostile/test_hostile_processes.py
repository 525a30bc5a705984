"""Commands in a process of their own, started under conditions that a person does not choose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [
    pytest.mark.slow,  # half a second each
    pytest.mark.skipif(sys.platform != "linux", reason="a shell's words, and limits of Linux"),
]
ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """A line of shell in which $P starts pepr-edge, its status, and a word that stdout and stderr hold."""

    line: str
    status: int
    word: str = ""


PREDICT = "predict 01-tiny@16-fp32 good.png"
ROWS: dict[str, Row] = {
    "warnings are errors": Row(f"$PYTHON -W error -m pepr_edge {PREDICT}", 0, "probability"),
    "no stdout": Row(f"$P {PREDICT} >&-", 0),
    "no stderr": Row(f"$P {PREDICT} 2>&-", 0, "probability"),
    "no stdin": Row(f"$P {PREDICT} <&-", 0, "probability"),
    "no streams at all": Row(f"$P {PREDICT} <&- >&- 2>&-", 0),
    "no stderr and an error": Row("$P predict none good.png 2>&-", 1),
    "a full disk behind stdout": Row(f"$P {PREDICT} > /dev/full", 1, "the disk is full"),
    "a reader that ends": Row("$P recipes show quickstart | true", 0),
    "no home": Row(f"env -u HOME $P {PREDICT}", 0, "probability"),
    "a home that is not there": Row(f"HOME=/none $P {PREDICT}", 0, "probability"),
    "the C locale": Row(f"LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $P {PREDICT}", 0, "probability"),
    "a terminal of ASCII": Row(f"PYTHONIOENCODING=ascii $P {PREDICT}", 0, "probability"),
    "no environment": Row(f"env -i PYTHONPATH=$PYTHONPATH $P {PREDICT}", 0, "probability"),
    "one core": Row(f"taskset -c 0 $P {PREDICT}", 0, "probability"),
    "a working directory that was deleted": Row(
        "mkdir gone; cd gone; rmdir ../gone; $P recipes show quickstart", 0, "quickstart"
    ),
    "little memory for doctor": Row("ulimit -v 400000; $P doctor", 0),
    "little memory for rank": Row("ulimit -v 400000; $P rank none", 1, "not a run directory"),
    "little memory for predict": Row(f"ulimit -v 60000; $P {PREDICT}", 1, "error: "),
    "few open files": Row(f"ulimit -n 24; $P {PREDICT}", 0, "probability"),
    "no core of a crash": Row(f"ulimit -c 0; $P {PREDICT}", 0, "probability"),
    "an interrupt": Row(f"timeout -s INT 0.15 $P {PREDICT}; test $? -ne 0", 0),
    "a module of the working directory": Row(
        f"echo 'import os; os._exit(66)' > json.py; $PYTHON -P -m pepr_edge {PREDICT};"
        " s=$?; rm json.py; exit $s",
        0,
        "probability",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_command_under_odd_conditions(name: str, home: Path) -> None:
    row = ROWS[name]
    if "-P -m" in row.line and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 has no -P")
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "P": f"{sys.executable} -m pepr_edge",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["sh", "-c", row.line],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == row.status, said[:1000]
    assert row.word in said
    assert "Traceback" not in said
