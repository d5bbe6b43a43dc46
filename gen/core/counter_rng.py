"""Random numbers as a function of (seed, index, name): no state, same on every device and in every batch.

A number is an integer hash of a counter. Adding, removing or reordering draws leaves all others as they were.
The hash is the 32-bit mixer "lowbias32" (C. Wellons, "Prospecting for Hash Functions", 2018: two
multiplications, three xor-shifts), applied to keys and counters.
"""

import math
import zlib
from functools import lru_cache

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIER_1 = 0x7FEB352D
_MULTIPLIER_2 = 0x846CA68B - (1 << 32)
_WEYL = 0x9E3779B9 - (1 << 32)
_SALTS = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
"""The first digits of pi."""
_TO_UNIT = 2.0**-24
_EVEN_BYTES = 0x00FF00FF
_BYTES_MEAN = 4 * 255 / 2
_BYTES_STD = math.sqrt(4 * (256**2 - 1) / 12)
_MOST_KEPT = 2**18
"""Counters of a name are kept for the next batch up to this number, 1 MB."""
VECTOR = 16
"""Rows of random numbers are computed in multiples of this."""


def _shift_right(value: Tensor, bits: int, out: Tensor | None = None) -> Tensor:
    """Logical (not arithmetic) right shift of int32, into the memory of ``out``."""
    shifted = torch.bitwise_right_shift(value, bits, out=out)
    shifted &= (1 << (32 - bits)) - 1
    return shifted


def hash32(value: Tensor) -> Tensor:
    """Mix the bits of an int32 tensor; a bijection of the 32-bit integers. Multiplication wraps."""
    return _finish(_start(value))


def _start(value: Tensor) -> Tensor:
    mixed = _shift_right(value, 16)
    mixed ^= value
    mixed *= _MULTIPLIER_1
    return mixed


def _finish(value: Tensor, memory: Tensor | None = None) -> Tensor:
    """The last part of the mixing; it overwrites ``value`` and ``memory``, where its result lies."""
    mixed = _shift_right(value, 15, memory)
    mixed ^= value
    mixed *= _MULTIPLIER_2
    mixed ^= _shift_right(mixed, 16, value)
    return mixed


def stream_number(name: str) -> int:
    """Signed 32-bit number of a named stream of random numbers."""
    return _signed(zlib.crc32(name.encode()))


# The mark of torch.compiler.assume_constant_result, which itself would import the compiler, at 2 s.
vars(stream_number)["_dynamo_marked_constant"] = True


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 32) if value >= 1 << 31 else value


def sample_keys(seed: int, indices: Tensor) -> Tensor:
    """One key of 64 bits per sample, as two int32 words, ``(B, 2)``, on the device of ``indices``.

    The lowest 64 bits of ``seed`` count; ``indices``, int64 ``(B,)``, are not negative. Both are mixed apart
    before they meet: sample 1 of seed 2 is not sample 2 of seed 1.
    """
    low = indices & _MASK
    low = hash32(torch.where(low >= 1 << 31, low - (1 << 32), low).int())
    high = hash32((indices >> 32).int() ^ _WEYL)
    # Salted, so that seed and index do not change places.
    words = [_signed(word ^ salt) for word, salt in zip((seed, seed >> 32) * 2, _SALTS, strict=True)]
    mixed = hash32(torch.tensor(words, dtype=torch.int32, device=indices.device))
    first = hash32(hash32(low ^ mixed[0]) + high) ^ mixed[1]
    second = hash32(hash32(low + mixed[2]) ^ high) + mixed[3]
    return torch.stack((hash32(first), hash32(second)), dim=1)


def named_keys(keys: Tensor, name: str) -> Tensor:
    """Keys of a named stream of random numbers, int32, shape ``(B, 2)`` as ``keys``."""
    return _bits(keys, _counters(name, 2, keys.device))


def uniform_field(keys: Tensor, name: str, count: int) -> Tensor:
    """``count`` independent uniform numbers in (0, 1) per key, float32, shape ``(B, count)``."""
    return _unit(_bits(keys, _counters(name, _whole(count), keys.device)))[:, :count]


def _whole(count: int) -> int:
    # Compiled code for rows of other lengths has written beyond its memory (torch 2.13, CPU).
    return -(-count // VECTOR) * VECTOR


def _counters(name: str, count: int, device: torch.device) -> Tensor:
    """Mixed numbers of the first ``count`` draws of a name, int32, ``(count,)``: the same for all keys."""
    return (_kept_counters if count <= _MOST_KEPT else _new_counters)(name, count, device)


def _new_counters(name: str, count: int, device: torch.device) -> Tensor:
    counter = torch.arange(count, dtype=torch.int32, device=device)
    return hash32((counter * _WEYL) ^ stream_number(name))


_kept_counters = lru_cache(maxsize=64)(_new_counters)


def _bits(keys: Tensor, counters: Tensor) -> Tensor:
    """32 random bits per key and counter, int32, ``(B, n)``; the key's words enter at different stages."""
    value = counters + keys[:, :1]
    bits = _start(value)
    bits += keys[:, 1:]
    return _finish(bits, value)


def _unit(bits: Tensor) -> Tensor:
    unit = _shift_right(bits, 8).float()
    unit += 0.5
    unit *= _TO_UNIT
    return unit


def normal_field(keys: Tensor, name: str, count: int) -> Tensor:
    """``count`` independent standard normal numbers per key, float32, shape ``(B, count)``.

    Source: Box and Muller 1958, both members of each pair used.
    """
    half = _whole((count + 1) // 2)
    uniform = uniform_field(keys, name, 2 * half)
    radius = uniform[:, :half].log_().mul_(-2.0).sqrt_()
    angle = uniform[:, half:].mul_(2.0 * math.pi)
    cosine = torch.cos(angle)
    angle.sin_().mul_(radius)
    radius.mul_(cosine)
    return uniform[:, :count]


def bell_field(keys: Tensor, name: str, count: int) -> Tensor:
    """Independent numbers of mean 0 and variance 1, float32, shape ``(B, count)``, at half a normal's cost.

    The sum of the four bytes of a hash: it ends at 3.4 and has a kurtosis of 2.7 instead of 3. For fields
    that are averaged over neighbours, which makes it normal.
    """
    bits = _bits(keys, _counters(name, _whole(count), keys.device))
    pairs = bits & _EVEN_BYTES
    bits >>= 8
    bits &= _EVEN_BYTES
    pairs += bits
    high = torch.bitwise_right_shift(pairs, 16, out=bits)
    pairs &= 0xFFFF
    pairs += high
    return pairs.float().sub_(_BYTES_MEAN).mul_(1 / _BYTES_STD)[:, :count]


class SampleRandom:
    """Named draws for a batch of samples; no name may be used twice.

    Args:
        keys: int32, shape ``(B, 2)``, from :func:`sample_keys`.
        memory: names and counts of the last batch's draws, which are hashed in one pass; updated with those
            of this batch. Values do not depend on it.

    Raises:
        ValueError: a name is used twice: two decisions would share their numbers.
    """

    def __init__(self, keys: Tensor, memory: dict[str, int] | None = None) -> None:
        self.keys = keys
        self._memory = memory if memory is not None else {}
        self._bits, self._units = _draw_together(keys, dict(self._memory))
        self._used: set[str] = set()

    def _note(self, name: str, count: int) -> None:
        if name in self._used:
            raise ValueError(f"two decisions use the random numbers {name!r}")
        self._used.add(name)
        self._memory[name] = count

    def _numbers(self, name: str, count: int) -> Tensor:
        self._note(name, count)
        ready = self._units.get(name)
        return ready if ready is not None else uniform_field(self.keys, name, count)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform in ``[low, high]``, float32, shape ``(B, *shape)``."""
        values = self._numbers(name, math.prod(shape)).reshape(-1, *shape)
        return values * (high - low) + low

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Standard normal, float32, shape ``(B, *shape)``."""
        values = self._numbers(name, math.prod(shape)).reshape(-1, *shape)
        return torch.special.ndtri(values)

    def chance(self, name: str, probability: float) -> Tensor:
        """True with that probability, bool, shape ``(B,)``."""
        return self._numbers(name, 1)[:, 0] < probability

    def integer(self, name: str, count: int) -> Tensor:
        """Uniform over ``0 .. count - 1``, int64, shape ``(B,)``; ``count`` up to 2**24."""
        return (self._numbers(name, 1)[:, 0].double() * count).long().clamp(max=count - 1)

    def key(self, name: str) -> Tensor:
        """Keys for a random field of its own, int32, shape ``(B, 2)``."""
        self._note(name, 2)
        ready = self._bits.get(name)
        # Laid out alike in the first batch and all others: compiled code is made for one layout.
        return ready.contiguous() if ready is not None else named_keys(self.keys, name)


def _draw_together(keys: Tensor, counts: dict[str, int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random bits and uniform numbers of many names, ``(B, count)`` each, hashed in one pass."""
    if not counts:
        return {}, {}
    bits = _bits(keys, _counters_together(tuple(counts.items()), keys.device))
    sizes = list(counts.values())
    return (
        dict(zip(counts, bits.split(sizes, dim=1), strict=True)),
        dict(zip(counts, _unit(bits).split(sizes, dim=1), strict=True)),
    )


@lru_cache(maxsize=64)
def _counters_together(counts: tuple[tuple[str, int], ...], device: torch.device) -> Tensor:
    return torch.cat([_counters(name, count, device) for name, count in counts])
