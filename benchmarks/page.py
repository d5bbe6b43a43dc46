"""Result pages: every benchmark writes Markdown that begins with its machine, versions and command."""

import math
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from synthspine.shards.storage.auth import without_credentials

RESULTS = Path(__file__).parent / "results"
"""Default folder of the result files."""


def page(title: str, device: torch.device, parts: Iterable[str], packages: Sequence[str] = ()) -> str:
    """Text of a page, with the versions of torch and ``packages``; empty ``parts`` are left out."""
    versions = "; ".join(f"{name} {_version(name)}" for name in ("torch", *packages))
    command = f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip()
    command = without_credentials(command)
    head = [f"# {title}", f"{machine(device)}.\n{versions}.", f"```sh\n{command}\n```"]
    return "\n\n".join(part for part in (*head, *parts) if part) + "\n"


def save(text: str, path: Path | None) -> None:
    """Print a page, and write it where a path is given."""
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


def machine(device: torch.device) -> str:
    """Processor, cores, threads, Python and device in one line."""
    name = platform.machine()
    account = Path("/proc/cpuinfo")
    if account.exists():
        models = [line for line in account.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"{name} ({torch.backends.cpu.get_cpu_capability()}), {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads; device {gpu}; Python {platform.python_version()}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def markdown_table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def short(value: float) -> str:
    """A number with three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
