"""The vector unit that Numba compiles for: its lanes, and the register tile that fits it.

It is read from the features of Numba's target, not of this host: they are part of the key of Numba's disk cache, and
`NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from numba.core.registry import cpu_target

TILE_VECTORS = 4  # vectors in a row of a tile, for any number of gates


@dataclass(frozen=True)
class Target:
    """Vector registers of a CPU.

    Attributes
    ----------
    cpu : str
        LLVM's name for the processor.
    instructions : str
        The widest vector instructions that kernels use.
    vector_bytes : int
        Bytes in a vector register.
    accumulators : int
        Registers that a tile may fill with sums; the others hold weights and inputs.
    fma : bool
        Whether multiplication and addition fuse in hardware.
    bfloat16 : bool
        Whether there are AVX-512 BF16's products of pairs.
    vnni : bool
        Whether there are products of four bytes: AVX-512 VNNI's, or AVX-VNNI's.
    pause : str
        LLVM's name of the instruction for loops that wait for another thread; empty where there is none.
    """

    cpu: str
    instructions: str
    vector_bytes: int
    accumulators: int
    fma: bool
    bfloat16: bool = False
    vnni: bool = False
    pause: str = "llvm.x86.sse2.pause"

    def lanes(self, bitwidth: int) -> int:
        """Numbers of `bitwidth` bits in a register."""
        return 8 * self.vector_bytes // bitwidth

    def tile_rows(self, vectors: int) -> tuple[int, ...]:
        """Heights of tiles that are `vectors` wide, the tallest first; they add up to any number of rows."""
        tallest = self.accumulators // vectors
        return (tallest, *(rows for rows in (4, 2, 1) if rows < tallest))


@cache
def target() -> Target:
    """The target of this process."""
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    has = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    if "avx512f" in has:
        return Target(cpu, "AVX-512", 64, 24, True, "avx512bf16" in has, "avx512vnni" in has)
    if "avx" in has:
        return Target(cpu, "AVX2" if "avx2" in has else "AVX", 32, 12, "fma" in has, vnni="avxvnni" in has)
    if triple.startswith(("aarch64", "arm64")):
        return Target(cpu, "NEON", 16, 24, True, pause="")
    return Target(cpu, "128-bit", 16, 12, "fma" in has, pause="llvm.x86.sse2.pause" if "x86" in triple else "")
