"""Random numbers that depend on a key alone, the same on every device."""

import torch
from torch import Tensor


def splitmix64(x: Tensor) -> Tensor:
    """Hash int64 numbers: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), the same on every device.

    >>> hex(splitmix64(torch.tensor([0])).item() % 2**64)  # the first number of the reference code at seed 0
    '0xe220a8397b1dcdaf'
    """
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def uniform(key_B: Tensor, count: int, stream: int = 0) -> Tensor:
    """Return numbers (B, count) in [0, 1) that hang on the key and the stream alone: float32, 24 bits each.

    >>> key = torch.tensor([7, 8])
    >>> torch.equal(uniform(key, 3)[1:], uniform(key[1:], 3)), torch.equal(uniform(key, 3), uniform(key, 3, stream=1))
    (True, False)
    """
    start_B1 = splitmix64(splitmix64(key_B) + stream)[:, None]
    number_BN = splitmix64(start_B1 + torch.arange(count, device=key_B.device))
    return _shift(number_BN, 40).float() / 2**24


def _signed(word: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit word."""
    return word - 2**64 if word >= 2**63 else word


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right, zeros coming in: torch's own shift repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
