"""Random numbers as a function of (seed, index, name): no state, same on every device and in every batch.

A number is an integer hash of a counter, so a draw costs no bookkeeping and cannot be moved by another
draw: adding, removing or reordering draws leaves all others as they were. The hash is the 32-bit mixer
"lowbias32" (C. Wellons, "Prospecting for Hash Functions", 2018: two multiplications, three xor-shifts),
applied to keys and counters.
"""

import math
import zlib
from dataclasses import dataclass

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
    return (value >> bits) & ((1 << (32 - bits)) - 1)


def hash32(value: Tensor) -> Tensor:
    """Mix the bits of an int32 tensor; a bijection of the 32-bit integers. Multiplication wraps."""
    value = (value ^ _shift_right(value, 16)) * _MULTIPLIER_1
    value = (value ^ _shift_right(value, 15)) * _MULTIPLIER_2
    return value ^ _shift_right(value, 16)


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
    return (_shift_right(_bits(keys, name, count), 8).float() + 0.5) * _TO_UNIT


def normal_field(keys: Tensor, name: str, count: int) -> Tensor:
    """``count`` independent standard normal numbers per key, float32, shape ``(B, count)``.

    Source: Box and Muller 1958, both members of each pair used.
    """
    half = (count + 1) // 2
    uniform = uniform_field(keys, name, 2 * half)
    radius = torch.sqrt(-2.0 * torch.log(uniform[:, :half]))
    angle = (2.0 * math.pi) * uniform[:, half:]
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)[:, :count]


def _bits(keys: Tensor, name: str, count: int) -> Tensor:
    stream = named_keys(keys, name)
    counter = torch.arange(count, dtype=torch.int32, device=keys.device) * _WEYL
    return hash32(hash32(counter + stream[:, :1]) ^ stream[:, 1:])


@dataclass(frozen=True, slots=True)
class SampleRandom:
    """Named draws for a batch of samples.

    Attributes:
        keys: int32, shape ``(B, 2)``, from :func:`sample_keys`.
    """

    keys: Tensor

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform in ``[low, high]``, float32, shape ``(B, *shape)``."""
        values = uniform_field(self.keys, name, math.prod(shape)).reshape(-1, *shape)
        return low + (high - low) * values

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Standard normal, float32, shape ``(B, *shape)``."""
        return normal_field(self.keys, name, math.prod(shape)).reshape(-1, *shape)

    def chance(self, name: str, probability: float) -> Tensor:
        """True with that probability, bool, shape ``(B,)``."""
        return uniform_field(self.keys, name, 1)[:, 0] < probability

    def integer(self, name: str, count: int) -> Tensor:
        """Uniform over ``0 .. count - 1``, int64, shape ``(B,)``; ``count`` up to 2**24."""
        return (uniform_field(self.keys, name, 1)[:, 0].double() * count).long().clamp(max=count - 1)

    def key(self, name: str) -> Tensor:
        """Keys for a random field of its own, int32, shape ``(B, 2)``."""
        return named_keys(self.keys, name)
