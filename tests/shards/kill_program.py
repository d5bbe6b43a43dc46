"""Kills writers at random moments: python kill_program.py FOLDER KILLS SEED. Prints a JSON report.

A writer is forked, killed after a random time, and the next one goes on with what it left, until the set is
complete; then it begins anew in another folder. After every kill each file under a final name must be the one
that an undisturbed writer makes.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from counted import Counted, build

COUNT = 200


def main(folder: Path, kills: int, seed: int) -> dict[str, object]:
    wanted, seconds = undisturbed(folder / "undisturbed" / "set")
    draw = random.Random(seed)
    report = {"kills": 0, "completed": 0, "shards_at_kill": [], "temporaries_left": 0, "wrong": []}
    while report["kills"] < kills:
        target = folder / f"{report['completed']}" / "set"
        process = fork(target)
        time.sleep(draw.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            report["kills"] += 1
            found = final_files(target)
            report["shards_at_kill"].append(sum(name.endswith(".tar") for name in found))
            report["temporaries_left"] += any(target.rglob(".tmp-*"))
            report["wrong"] += [name for name, content in found.items() if wanted[name] != content]
            if "manifest.json" in found and found != wanted:
                report["wrong"].append("a manifest before the set was complete")
        else:
            check_end(target, wanted, status, report)
    target = folder / f"{report['completed']}" / "set"
    check_end(target, wanted, os.waitpid(fork(target), 0)[1], report)
    return report


def undisturbed(target: Path) -> tuple[dict[str, bytes], float]:
    start = time.perf_counter()
    assert os.waitpid(fork(target), 0)[1] == 0
    return final_files(target), time.perf_counter() - start


def fork(target: Path) -> int:
    process = os.fork()
    if process == 0:
        status = 1
        try:
            sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
            if not (target / "manifest.json").exists():
                build(target, Counted(COUNT))
            status = 0
        finally:
            os._exit(status)
    return process


def final_files(target: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in target.glob("*")
        if path.is_file() and not path.name.startswith(".tmp-")
    }


def check_end(target: Path, wanted: dict[str, bytes], status: int, report: dict) -> None:
    if status != 0 or final_files(target) != wanted:
        report["wrong"].append(f"the end: status {status}")
    leftovers = [path.name for path in target.glob("*") if path.name not in wanted]
    # A writer that is killed between its last two steps leaves its notes beside a complete set.
    if set(leftovers) - {"unfinished"}:
        report["wrong"].append(f"left over: {leftovers}")
    report["completed"] += 1


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
