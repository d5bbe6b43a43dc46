import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthspine.interrupt import INTERRUPTED, quiet_interrupt

ROOT = Path(__file__).parents[1]
LOADING = """
import os, signal
from synthspine.interrupt import quiet_interrupt
with quiet_interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    print("still here")
"""
COMMANDS = (
    *("eval/predict.py", "eval/main.py", "shards/main.py", "shards/serve.py", "train/main.py"),
    *("shards/synth.py", "eval/serve.py", "example.py"),
)


def test_ctrl_c_while_modules_are_loaded_gives_the_status_and_no_traceback():
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")
    assert INTERRUPTED == 130


def test_afterwards_ctrl_c_is_as_before():
    with quiet_interrupt():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("script", COMMANDS)
def test_a_command_loads_everything_else_under_its_protection(script):
    lines = (ROOT / script).read_text().splitlines()
    before = lines[: lines.index("with quiet_interrupt():")]
    imports = [line for line in before if line.startswith(("import ", "from "))]
    protection = "from synthspine.interrupt import quiet_interrupt"
    assert {protection} <= set(imports) <= {"import importlib", "import sys", protection}


@pytest.mark.slow
@pytest.mark.parametrize("wait_s", [0.2, 1.0, 3.0])
def test_ctrl_c_at_any_time_of_a_prediction(tmp_path, wait_s):
    command = [sys.executable, "eval/predict.py", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(wait_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in (1, INTERRUPTED) and "Traceback" not in errors
