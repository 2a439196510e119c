"""Fourier transforms along one axis, on real numbers: a spectrum has two parts, real and imaginary.

One op does it all: the real and the imaginary part, stacked, are transformed together. The matrix
of the transform is symmetric, so the gradient goes back by the transform the other way round.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ..operation import op
from .arrange import moveaxis
from .elementwise import Array, as_floating, multiply, operand
from .shape import getitem, pad, stack


class Spectrum:
    """Complex numbers as two Tensors, `real` and `imag`: what ``np.fft.rfft(t)`` gives, and
    ``np.fft.irfft`` takes.

    Anything else is made of the two parts: np.abs(f) is ``np.hypot(f.real, f.imag)``, and a product
    f * h with plain numbers h has the parts f.real * h.real - f.imag * h.imag and so on.
    """

    __slots__ = ("imag", "real")

    def __init__(self, real: Array, imag: Array) -> None:
        self.real, self.imag = operand(real), operand(imag)

    def __repr__(self) -> str:
        return f"Spectrum(real={self.real!r}, imag={self.imag!r})"

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "a Spectrum is no array, as Tensors hold real numbers: work with its .real and .imag, "
            "as np.hypot(f.real, f.imag) for np.abs(f); np.fft.ifft and np.fft.irfft take it whole"
        )

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        meant = transform_for(function)
        return meant(*args, **kwargs) if meant else self.__array__()


@op(symbol="DFT", inputs=1, linear=True, formula="g, transformed the other way round")
def dft(x: Array, inverse: bool = False) -> Array:
    """The discrete Fourier transforms along the last axis of x[0] + i x[1], or with
    ``inverse=True`` n times the inverse ones: real parts, then imaginary parts."""
    found = (
        np.fft.ifft(x[0] + 1j * x[1], norm="forward") if inverse else np.fft.fft(x[0] + 1j * x[1])
    )
    return np.stack([found.real, found.imag]).astype(x.dtype, copy=False)


dft.vjp(lambda g, out, x, inverse: dft(g, not inverse))


def parts_of(a: Any, n: int | None, axis: int) -> Array:
    """Real and imaginary parts along a new first axis, the `axis` last, cut or filled up with zeros
    to n elements (None: as many as it has)."""
    real, imag = (a.real, a.imag) if isinstance(a, Spectrum) else (operand(a), None)
    if imag is None and real.dtype.kind == "c":
        real, imag = real.real, real.imag
    real = moveaxis(as_floating(real), axis, -1)
    imag = np.zeros(real.shape, real.dtype) if imag is None else moveaxis(imag, axis, -1)
    both, size = stack([real, imag]), real.shape[-1]
    n = size if n is None else n
    if n < 1:
        raise ValueError(f"a Fourier transform needs 1 element or more, but n is {n}")
    both = both if n >= size else both[..., :n]
    return both if n <= size else pad(both, [(0, 0)] * (both.ndim - 1) + [(0, n - size)])


def scaled(x: Array, n: int, norm: str | None, inverse: bool) -> Array:
    """A transform of n elements as `norm` wants it scaled. Raises: ValueError for others."""
    powers = {None: float(inverse), "backward": float(inverse), "ortho": 0.5}
    powers["forward"] = 1 - powers[None]
    if norm not in powers:
        raise ValueError(f"norm must be 'backward', 'ortho' or 'forward', but is {norm!r}")
    return multiply(x, n ** -powers[norm]) if powers[norm] else x


def transform(a: Any, n: int | None, axis: int, norm: str | None, inverse: bool) -> Spectrum:
    """The transform of a, or the inverse one, real or a Spectrum."""
    both = parts_of(a, n, axis)
    both = scaled(dft(both, inverse), both.shape[-1], norm, inverse)
    return Spectrum(moveaxis(both[0], -1, axis), moveaxis(both[1], -1, axis))


def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Spectrum:
    """The discrete Fourier transform along the axis, as `numpy.fft.fft`."""
    return transform(a, n, axis, norm, False)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Spectrum:
    """The inverse of `fft`, as `numpy.fft.ifft`."""
    return transform(a, n, axis, norm, True)


def rfft(a: Array, n: int | None = None, axis: int = -1, norm: str | None = None) -> Spectrum:
    """The half of `fft` that says all of real numbers: n // 2 + 1 elements, as `numpy.fft.rfft`.

    Raises: TypeError for a Spectrum, which has another half.
    """
    if isinstance(a, Spectrum):
        raise TypeError("np.fft.rfft is for real numbers; of a Spectrum take np.fft.fft")
    found = fft(moveaxis(operand(a), axis, -1), n, -1, norm)
    half = (..., slice((a.shape[axis] if n is None else n) // 2 + 1))
    return Spectrum(*(moveaxis(getitem(x, half), -1, axis) for x in (found.real, found.imag)))


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The n real numbers (None: an even number of them) with this `rfft`, as `numpy.fft.irfft`."""
    both = parts_of(a, None, axis)
    n = 2 * (both.shape[-1] - 1) if n is None else n
    both = parts_of(Spectrum(both[0], both[1]), n // 2 + 1, -1)
    # All but the first element, and for even n the last, stand for two: e**ix and e**-ix.
    twice = np.full(n // 2 + 1, 2, both.dtype)
    twice[0 : n // 2 + 1 : n // 2 if n % 2 == 0 else n] = 1
    halves = multiply(both, twice)
    whole = parts_of(Spectrum(halves[0], halves[1]), n, -1)
    return moveaxis(scaled(dft(whole, True)[0], n, norm, True), -1, axis)


FUNCTIONS = {"fft": fft, "ifft": ifft, "rfft": rfft, "irfft": irfft}


def transform_for(function: Any) -> Any:
    """What stands here for a function of numpy.fft, or None; NumPy loads that when it is used."""
    of_numpy = getattr(function, "__module__", None) == "numpy.fft"
    return FUNCTIONS.get(function.__name__) if of_numpy else None
