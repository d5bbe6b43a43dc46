"""What is wrong with a shard that is not what was written: which files of which samples are lost.

Every tar header that is as it was written is found wherever it lies, and the record of each sample holds the
SHA-256 of its files.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from synthspine.shards.format.manifest import ShardEntry
from synthspine.shards.format.sample import DIGESTS, IMAGE, LABEL, RECORD, file_digests, sample_key

_BLOCK = tarfile.BLOCKSIZE
_MAGIC, _MAGIC_AT = b"ustar\x0000", 257
_HEADER_LIKENESS = 100
"""Bytes of a header that may be damaged so that it is still taken for one."""

_Files = dict[str, dict[str, memoryview]]


def shard_damage(content: bytes, entry: ShardEntry, keys: list[str]) -> tuple[_Files, set[str], list[str]]:
    """What a shard holds and what is wrong with it. Damage never raises.

    Args:
        content: its bytes.
        entry: what the manifest says of it.
        keys: of the samples that were written to it.

    Returns:
        Its files by key and extension, the keys of the samples that are not as they were written, and a line
        for everything that is damaged: none if these are the bytes that were written.
    """
    files, damage = salvage(content, keys)
    wrong = {key: lines for key in files if (lines := list(_damage(files[key])))}
    whole = files.keys() - wrong.keys()
    rest = list(keys)
    while len(content) < entry.bytes and rest and rest[-1] not in whole:
        rest.pop()
    tail = set(keys[len(rest) :])
    for key, lines in wrong.items():
        damage += [f"sample {key}: {line}" for line in lines if key not in tail]
    if lost := [key for key in rest if key not in files]:
        damage.append(f"{named_samples(lost)}: not there")
    if tail:
        left = counted(len(whole), "whole sample")
        damage.insert(0, f"cut off: {left} left, the first lost is {keys[len(rest)]}")
    if len(content) != entry.bytes:
        damage.insert(0, f"{len(content)} bytes instead of {entry.bytes}")
    if not damage and hashlib.sha256(content).hexdigest() != entry.sha256:
        damage.append("its SHA-256 is not the manifest's, though all in it is whole: it is another shard")
    return files, set(wrong), damage


def salvage(content: bytes, keys: Sequence[str]) -> tuple[_Files, list[str]]:
    """All that can be found of the files of a shard, and what is wrong between them.

    Args:
        content: a tar as ``shards.format.tar.pack`` writes it, however damaged.
        keys: keys of the samples that were written to it, at least one.

    Returns:
        Content of the files by key and extension, in the order in which they lie there; and a line for each
        damaged header and padding. A file whose header is damaged has the name that its neighbours tell.
    """
    heads = list(_headers(content))
    layout = [LABEL, RECORD]
    if any(name.endswith(f".{IMAGE}") for name, _, _ in heads):
        layout.insert(0, IMAGE)
    sizes = {name.partition(".")[2]: size for name, _, size in heads}
    files: _Files = {}
    wrong: list[str] = []

    def keep(name: str, body: memoryview) -> None:
        key, _, extension = name.partition(".")
        if extension in files.setdefault(key, {}):
            wrong.append(f"{name} is there twice")
        else:
            files[key][extension] = body

    view = memoryview(content)
    stops = [*(start for _, start, _ in heads), len(content)]
    for head, stop in zip([None, *heads], stops, strict=True):
        name, start, size = head or ("", -_BLOCK, 0)
        while True:
            end = start + _BLOCK + size
            if name:
                keep(name, view[start + _BLOCK : min(end, stop)])
            body = end + -size % _BLOCK
            where = f"after {name}" if name else "at its start"
            if content[end : min(body, stop)].strip(b"\0"):
                wrong.append(f"padding {where}: not as it was written")
            rest = content[body:stop]
            at_end = stop == len(content)
            if not (rest.strip(b"\0") if at_end else rest):
                break
            following = _following(name, layout, keys)
            found = _hidden_size(rest, following, sizes) if following else None
            if following is None or found is None:
                wrong.append(f"{len(rest)} bytes {where}: {'not zero' if at_end else 'do not belong there'}")
                break
            wrong.append(f"tar header of {following}: not as it was written")
            name, start, size = following, body, found
    return files, wrong


def _headers(content: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, place of the header and size of every file whose header is as it was written."""
    place = content.find(_MAGIC)
    while place >= 0:
        start = place - _MAGIC_AT
        block = content[max(start, 0) : start + _BLOCK]
        try:
            name, size = block[:100].rstrip(b"\0").decode("ascii"), int(block[124:135], 8)
            if block == _header(name, size):
                yield name, start, size
        except ValueError:
            pass
        place = content.find(_MAGIC, place + 1)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _following(name: str, layout: Sequence[str], keys: Sequence[str]) -> str | None:
    """Name of the file that was written after another one; None if there was none, or it is not known."""
    key, _, extension = name.partition(".")
    if not name:
        return f"{keys[0]}.{layout[0]}"
    if key not in keys or extension not in layout:
        return None
    if extension != layout[-1]:
        return f"{key}.{layout[layout.index(extension) + 1]}"
    return None if key == keys[-1] else f"{sample_key(int(key) + 1)}.{layout[0]}"


def _hidden_size(block: bytes, name: str, sizes: dict[str, int]) -> int | None:
    """Size of a file that bytes begin with, its damaged header first; None if that is none."""
    guesses = [len(block[_BLOCK:].rstrip(b"\0"))]
    if block[124:135].isdigit() and not set(block[124:135]) & set(b"89"):
        guesses.insert(0, int(block[124:135], 8))
    if (usual := sizes.get(name.partition(".")[2])) is not None:
        guesses.insert(0, usual)
    ranked = []
    for order, size in enumerate(guesses):
        differences = sum(a != b for a, b in zip(block, _header(name, size), strict=False))
        if size + _BLOCK <= len(block) and differences <= _HEADER_LIKENESS:
            ranked.append((size + -size % _BLOCK + _BLOCK != len(block), differences, order, size))
    return min(ranked)[-1] if ranked else None


def _damage(files: dict[str, memoryview]) -> Iterator[str]:
    """What is wrong with the files of a sample: one is missing, or not what was written."""
    digests: dict[str, Any] = {}
    if RECORD not in files:
        yield f"{RECORD} is not there, so its other files cannot be checked"
    else:
        try:
            digests = json.loads(bytes(files[RECORD]))[DIGESTS] | {}
        except (ValueError, LookupError, TypeError, RecursionError):
            yield f"{RECORD} is not what was written, so its other files cannot be checked"
    found = file_digests(files)
    for extension in sorted({LABEL, *digests, *files}):
        if extension not in files and extension != RECORD:
            yield f"{extension} is not there"
        elif digests and found[extension] != digests.get(extension):
            yield f"{extension} is not what was written (SHA-256)"


def named_samples(keys: list[str]) -> str:
    """``samples 00000000 to 00000003, 00000007``."""
    runs: list[list[str]] = []
    for key in keys:
        if runs and key.isdecimal() and runs[-1][-1].isdecimal() and int(key) == int(runs[-1][-1]) + 1:
            runs[-1].append(key)
        else:
            runs.append([key])
    named = [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"sample{'s' * (len(keys) > 1)} {', '.join(named)}"


def counted(number: int, what: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{number} {what}{'s' * (number != 1)}"
