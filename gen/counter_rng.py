"""Random numbers as a function of (seed, index, name): no state, same on every device and in every batch.

A number is an integer hash of a counter, so a draw costs no bookkeeping and cannot be moved by another
draw: adding, removing or reordering draws leaves all others as they were. The hash is the 32-bit mixer
"lowbias32" (C. Wellons, "Prospecting for Hash Functions", 2018: two multiplications, three xor-shifts),
applied to keys and counters.
"""

import math
import zlib

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIER_1 = 0x7FEB352D
_MULTIPLIER_2 = 0x846CA68B - (1 << 32)
_WEYL = 0x9E3779B9 - (1 << 32)
_SALTS = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
"""The first digits of pi."""
_TO_UNIT = 2.0**-24


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical (not arithmetic) right shift of int32."""
    shifted = value >> bits
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


def _finish(value: Tensor) -> Tensor:
    mixed = _shift_right(value, 15)
    mixed ^= value
    mixed *= _MULTIPLIER_2
    mixed ^= _shift_right(mixed, 16)
    return mixed


@torch.compiler.assume_constant_result
def stream_number(name: str) -> int:
    """Signed 32-bit number of a named stream of random numbers."""
    return _signed(zlib.crc32(name.encode()))


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 32) if value >= 1 << 31 else value


def sample_keys(seed: int, indices: Tensor) -> Tensor:
    """One key of 64 bits per sample, as two int32 words.

    Seed and index are mixed apart before they meet: sample 1 of seed 2 is not sample 2 of seed 1.

    Args:
        seed: any integer; its lowest 64 bits count.
        indices: sample numbers, int64, shape ``(B,)``, not negative.

    Returns:
        Keys, int32, shape ``(B, 2)``, on the device of ``indices``.
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
    number = stream_number(name)
    return torch.stack((hash32(keys[:, 0] ^ number), hash32(keys[:, 1] + number)), dim=1)


def uniform_field(keys: Tensor, name: str, count: int) -> Tensor:
    """``count`` independent uniform numbers in (0, 1) per key, float32, shape ``(B, count)``."""
    counter = torch.arange(count, dtype=torch.int32, device=keys.device)
    return _uniform(named_keys(keys, name).unsqueeze(1), counter)


def _uniform(stream: Tensor, counter: Tensor) -> Tensor:
    """Uniform numbers of streams ``(B, n or 1, 2)`` at counters ``(n,)``, float32, ``(B, n)``.

    The counter is mixed first, alone, for all keys at once; the two words of the key then enter at
    different stages of a second mixing.
    """
    bits = _start(hash32(counter * _WEYL) + stream[..., 0])
    bits += stream[..., 1]
    unit = _shift_right(_finish(bits), 8).float()
    unit += 0.5
    unit *= _TO_UNIT
    return unit


def normal_field(keys: Tensor, name: str, count: int) -> Tensor:
    """``count`` independent standard normal numbers per key, float32, shape ``(B, count)``.

    Source: Box and Muller 1958, both members of each pair used.
    """
    half = (count + 1) // 2
    uniform = uniform_field(keys, name, 2 * half)
    radius = torch.sqrt(-2.0 * torch.log(uniform[:, :half]))
    angle = (2.0 * math.pi) * uniform[:, half:]
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)[:, :count]


class SampleRandom:
    """Named draws for a batch of samples; no name may be asked for twice.

    Args:
        keys: int32, shape ``(B, 2)``, from :func:`sample_keys`.
        memory: names and counts that the last batch asked for; they are hashed in one go, and what this
            batch asks for is noted. The values do not depend on it, only the speed does.

    Raises:
        ValueError: a name is asked for a second time: two decisions would share their numbers.
    """

    def __init__(self, keys: Tensor, memory: dict[str, int] | None = None) -> None:
        self.keys = keys
        self._memory = memory if memory is not None else {}
        self._ready = _draw_together(keys, dict(self._memory))
        self._asked: set[str] = set()

    def _numbers(self, name: str, count: int) -> Tensor:
        if name in self._asked:
            raise ValueError(f"two decisions ask for the random numbers {name!r}")
        self._asked.add(name)
        self._memory[name] = count
        ready = self._ready.get(name)
        if ready is not None and ready.shape[1] == count:
            return ready
        return uniform_field(self.keys, name, count)

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
        if name in self._asked:
            raise ValueError(f"two decisions ask for the random numbers {name!r}")
        self._asked.add(name)
        return named_keys(self.keys, name)


def _draw_together(keys: Tensor, counts: dict[str, int]) -> dict[str, Tensor]:
    """Uniform numbers of many names, ``(B, count)`` each, hashed in one pass."""
    if not counts:
        return {}
    numbers = [stream_number(name) for name, count in counts.items() for _ in range(count)]
    places = [place for count in counts.values() for place in range(count)]
    names, counter = torch.tensor([numbers, places], dtype=torch.int32, device=keys.device)
    stream = torch.stack((hash32(keys[:, :1] ^ names), hash32(keys[:, 1:] + names)), dim=2)
    uniform = _uniform(stream, counter)
    return dict(zip(counts, uniform.split(list(counts.values()), dim=1), strict=True))
