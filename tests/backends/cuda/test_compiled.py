"""Every kernel, compiled for GPUs that are not here: no spills, no stack, no double precision by mistake."""

import importlib
import pkgutil
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from cuda_compiling import CAPABILITIES, Compiled, doubles, ptxas
from variants import variant

import numlstm.backends.cuda as cuda_backend
from numlstm.backends.contract import LayerSpec
from numlstm.backends.cuda import (
    activity,
    affine,
    arrays,
    crf,
    crf_loss,
    ctc,
    elementwise,
    embedding,
    layout,
    likelihoods,
    losses,
    moving,
    optimizing,
    pooling,
    products,
    recurrent,
    reductions,
    rows,
    tables,
)
from numlstm.backends.cuda.device import cuda
from numlstm.backends.cuda.intrinsics import KINDS
from numlstm.backends.cuda.launching import Kernel, kernel
from numlstm.backends.equations.optimizers import AdamNumbers, RmsPropNumbers, SgdNumbers

pytestmark = pytest.mark.skipif(ptxas() is None, reason="ptxas is not here (package nvidia-cuda-nvcc)")

ONE = (9, 0)

# Examples of arguments. REALS is an array of the dtype that is compiled for, REAL one such number.
REALS, REAL = "reals", "real"
FLOATS, INTEGERS, TABLE = np.empty(1), np.empty(1, np.int64), np.empty(1, np.int32)
FLOAT, INTEGER, FLAG = 0.0, 0, False


def integers(count):
    """So many in a tuple."""
    return (0,) * count


def optimizer_numbers(vectors, names):
    """Offsets of vectors, of decay and of a clipping factor; size, factor, and hyper-parameters by their names."""
    return integers(vectors + 2), INTEGER, REAL, names(*[REAL] * len(names._fields))


@dataclass(frozen=True, eq=False)
class Case:
    """A kernel, examples of its arguments, and what it may need."""

    name: str
    kernel: Any
    arguments: tuple
    registers: int = 64
    in_float64: bool = False  # whether it computes in float64 whatever numbers are stored in
    capabilities: tuple = (*CAPABILITIES,)  # fewer for what takes long to compile; ONE must be among them

    def __str__(self):
        return self.name

    def compiled(self, dtype, capability, **options):
        """For numbers of a dtype."""
        examples = {REALS: np.empty(1, dtype), REAL: np.dtype(dtype).type(0)}

        def example(argument):
            if isinstance(argument, tuple):
                numbers = map(example, argument)
                return type(argument)(*numbers) if hasattr(argument, "_fields") else tuple(numbers)
            return examples[argument] if isinstance(argument, str) else argument

        return Compiled(self.kernel, example(self.arguments), capability, **options)

    def faults(self, dtype, resources):
        """What is wrong with what it needs."""
        registers = min(MOST_REGISTERS, self.registers * (2 if self.in_float64 or dtype == "float64" else 1))
        checks = {
            f"stack of {resources.stack} bytes": resources.stack,
            f"spills {resources.spill_stores} bytes": resources.spill_stores or resources.spill_loads,
            f"{resources.registers} registers, at most {registers}": resources.registers > registers,
            f"{resources.doubles} instructions in double precision": (
                resources.doubles and dtype == "float32" and not self.in_float64
            ),
        }
        return [fault for fault, wrong in checks.items() if wrong]


AXES, SIZES = integers(4), integers(2)  # of arrays of three axes
SHAPE, MATRIX = integers(3), integers(3)  # offset and strides

KERNELS = [
    Case("arrays.copy", arrays._copy, (REALS, AXES, REALS, AXES, SIZES, INTEGER)),
    Case("arrays.fill", arrays._fill, (REALS, AXES, SIZES, INTEGER, REAL)),
    Case("products.tiles", products._tiles, (REALS, MATRIX) * 3 + (SHAPE, FLAG), registers=96),
    Case("products.strips", products._strips, (REALS, MATRIX) * 2 + (SIZES, INTEGER, FLAG)),
    Case("affine.add_bias", affine._add_bias, (REALS, REALS, INTEGER, INTEGER, INTEGER)),
    Case("elementwise.add", elementwise._add, (REALS, AXES, REALS, AXES, SIZES, INTEGER)),
    Case("elementwise.multiply", elementwise._multiply, (REALS, REALS, AXES, REALS, AXES, SIZES, INTEGER)),
    Case("elementwise.scale", elementwise._scale, (REALS, REALS, AXES, REAL, SIZES, INTEGER)),
    Case(
        "elementwise.dropout",
        elementwise._dropout,
        (REALS, AXES, REALS, SHAPE, INTEGER, INTEGER, REAL, np.bool_(False)),
    ),
    Case(
        "moving.gather",
        moving._gather,
        (REALS, SIZES, REALS, AXES, TABLE, TABLE, TABLE, SHAPE, INTEGER, FLAG),
    ),
    Case(
        "moving.scatter",
        moving._scatter,
        (REALS, AXES, REALS, SIZES, TABLE, TABLE, TABLE, SHAPE, INTEGER, FLAG, FLAG, INTEGER),
    ),
    Case("moving.sort", moving._sort, (REALS, SIZES, REALS, AXES, TABLE, INTEGER, INTEGER)),
    Case("moving.unsort", moving._unsort, (REALS, AXES, REALS, SIZES, TABLE, INTEGER, INTEGER, INTEGER)),
    Case("rows.take", rows._take, (REALS, REALS, AXES, INTEGERS, INTEGER, INTEGER)),
    Case("rows.add", rows._add, (REALS, AXES, INTEGERS, REALS, AXES, INTEGER, INTEGER)),
    Case("reductions.total", reductions._total, (FLOATS, INTEGER, FLOATS), in_float64=True),
    Case(
        "losses.softmax",
        losses._softmax,
        (REALS, MATRIX, SIZES, INTEGERS, FLOATS, REALS, FLOATS),
        in_float64=True,
    ),
    Case(
        "losses.elementwise",
        losses._elementwise,
        (INTEGER, FLOAT, REALS, MATRIX, SIZES, REALS, FLOATS, REALS, FLOATS),
        in_float64=True,
    ),
    Case(
        "likelihoods.quantiles",
        likelihoods._quantiles,
        (FLOATS, REALS, MATRIX, SIZES, REALS, FLOATS, REALS, FLOATS),
        in_float64=True,
    ),
    Case(
        "likelihoods.likelihood",
        likelihoods._likelihood,
        (INTEGER, REALS, MATRIX, SIZES, REALS, FLOATS, REALS, FLOATS),
        registers=128,
        in_float64=True,
    ),
    Case(
        "embedding.gather",
        embedding._gather,
        (REALS, INTEGER, integers(4), INTEGERS, INTEGER, REALS, INTEGER),
    ),
    Case(
        "embedding.scatter",
        embedding._scatter,
        (INTEGERS, INTEGER, integers(3), REALS, MATRIX, INTEGER, REALS, INTEGER, INTEGER),
    ),
    Case(
        "ctc",
        ctc._ctc,
        (REALS, AXES, SHAPE, INTEGERS, INTEGERS, INTEGER, FLOATS, INTEGER) + (FLOATS,) * 5,
        in_float64=True,
    ),
    Case(
        "crf_loss",
        crf_loss._crf_loss,
        (REALS, AXES, SHAPE, INTEGERS, INTEGERS, FLOATS) + (FLOATS,) * 5,
        in_float64=True,
    ),
    Case("crf.field", crf._field, (REALS, AXES, FLOATS, INTEGER), in_float64=True),
    Case("crf.marginals", crf._marginals, (REALS, AXES, SHAPE, INTEGERS, FLOATS, FLOATS, FLOATS), in_float64=True),
    Case(
        "crf.viterbi", crf._viterbi, (REALS, AXES, SHAPE, INTEGERS, FLOATS, FLOATS, INTEGERS, INTEGERS), in_float64=True
    ),
    Case(
        "activity",
        activity._activity,
        (REALS, AXES, SHAPE, INTEGERS, REALS, FLOATS, (FLOAT,) * 2, (REAL,) * 2),
        in_float64=True,
    ),
    Case("pooling.even_shares", pooling._even_shares, (INTEGERS, REALS, INTEGER, INTEGER)),
    Case("pooling.attend", pooling._attend, (REALS, AXES, SHAPE, INTEGERS, REALS, INTEGER, REALS)),
    Case("pooling.normalise", pooling._normalise, (REALS, INTEGERS, INTEGER, INTEGER)),
    Case("pooling.weighted_sums", pooling._weighted_sums, (REALS, AXES, SHAPE, INTEGERS, REALS, REALS)),
    Case("pooling.maxima", pooling._maxima, (REALS, AXES, SHAPE, INTEGERS, REALS, INTEGERS)),
    Case("pooling.maxima_backward", pooling._maxima_backward, (INTEGERS, SHAPE, REALS, MATRIX, REALS)),
    Case(
        "pooling.attend_backward",
        pooling._attend_backward,
        (REALS, AXES, SHAPE, INTEGERS, REALS, INTEGER, REALS, REALS, MATRIX, REALS, REALS),
    ),
    Case("pooling.softmax_backward", pooling._softmax_backward, (REALS, REALS, REALS, INTEGERS, INTEGER, INTEGER)),
    Case(
        "pooling.weighted_sums_backward",
        pooling._weighted_sums_backward,
        (REALS, SHAPE, INTEGERS, REALS, MATRIX, REALS, REALS, REALS, INTEGER),
    ),
    Case(
        "pooling.attention_gradients",
        pooling._attention_gradients,
        (REALS, AXES, SHAPE, INTEGERS, REALS, REALS, INTEGER),
    ),
    Case("optimizing.squares", optimizing._squares, (REALS, INTEGER, INTEGER, FLOATS), in_float64=True),
    Case("optimizing.norm", optimizing._norm, (FLOATS, INTEGER, FLOAT, FLOATS, REALS), in_float64=True),
    Case("optimizing.adam", optimizing.adam_kernel, (REALS,) * 6 + optimizer_numbers(4, AdamNumbers)),
    Case("optimizing.sgd", optimizing.sgd_kernel, (REALS,) * 5 + optimizer_numbers(3, SgdNumbers)),
    Case("optimizing.rmsprop", optimizing.rmsprop_kernel, (REALS,) * 5 + optimizer_numbers(3, RmsPropNumbers)),
]


# Recurrent layers: a few cells for one GPU, the LSTM for all, and on tensor cores.
RECURRENT = {
    "lstm": variant("lstm"), "gru": variant("gru"), "rnn": variant("rnn"), "mgu": variant("mgu"),
    "everything": variant(
        "lstm", peepholes=True, full_gate_recurrence=True, proj_size=2, preactivation_clip=1.1, cell_clip=0.6,
        output_activation=("softplus",), candidate_dropout=0.3, recurrent_dropout=0.4, zoneout=(0.2, 0.4),
    ),
    "layer_norm": variant("lstm", layer_norm=True),
}  # fmt: skip
MOST_REGISTERS = 255  # a block of 256 threads has a multiprocessor, and its 65,536 registers, to itself


def recurrent_case(name, kind, back, capabilities):
    """The forward or the backward kernel of a layer, with products of a kind."""
    cell = LayerSpec(input_size=3, hidden_size=8, **RECURRENT[name]).description
    make = recurrent.backward_kernel if back else recurrent.forward_kernel
    arguments = (
        *[REALS] * 4, *[TABLE] * 4, integers(len(cell.parameters)),
        (REAL,) * (len(cell.constants) + 3 * len(cell.masks) + 1), integers(2 * len(cell.masks) + 1),
        tables.Launch(*integers(len(tables.Launch._fields))), TABLE,
    )  # fmt: skip
    if back:
        arguments += REALS, REALS, REALS, integers(len(cell.states))
    name = f"recurrent.{'backward' if back else 'forward'} {name} {kind}".strip()
    return Case(name, make(layout.register(cell), kind), arguments, MOST_REGISTERS, False, capabilities)


RECURRENT_CASES = [
    recurrent_case(name, "", back, CAPABILITIES if name == "lstm" else (ONE,))
    for name in RECURRENT
    for back in (False, True)
]
TENSOR_CORES = [
    recurrent_case("lstm", kind, back, ((8, 0), ONE, (10, 0)) if kind == "float16" else (ONE,))
    for kind in KINDS
    for back in (False, True)
]


@cache
def compiled(case, dtype, capability):
    return case.compiled(dtype, capability)


WAYS = [(case, "float32", capability) for case in KERNELS for capability in case.capabilities]
WAYS += [(case, "float64", ONE) for case in [*KERNELS, *RECURRENT_CASES[:2]]]
WAYS += [(case, "float32", each) for case in (*RECURRENT_CASES, *TENSOR_CORES) for each in case.capabilities]


@pytest.mark.parametrize(("case", "dtype", "capability"), WAYS, ids=str)
def test_needs_no_more_than_it_should(case, dtype, capability):
    assert case.faults(dtype, compiled(case, dtype, capability).resources()) == []


@pytest.mark.parametrize("case", KERNELS, ids=str)
def test_compiles_to_the_same_again(case):
    assert case.compiled("float32", ONE).normal_ptx == compiled(case, "float32", ONE).normal_ptx


@pytest.mark.parametrize("case", TENSOR_CORES, ids=str)
def test_tensor_cores_multiply(case):
    ptx = compiled(case, "float32", ONE).ptx
    kind = {"tf32": "tf32.tf32", "float16": "f16.f16", "bfloat16": "bf16.bf16"}[case.name.split()[-1]]
    assert ptx.count(f"f32.{kind}.f32") == ptx.count("mma.sync") >= 4


@pytest.mark.parametrize("case", RECURRENT_CASES[:2], ids=str)
def test_memory_is_read_four_numbers_at_once(case):
    """The inner loop of plain products: two loads from shared memory for sixteen multiplications."""
    assert compiled(case, "float32", ONE).ptx.count("ld.shared.v4.f32") >= 2


@pytest.mark.parametrize("case", RECURRENT_CASES, ids=str)
def test_barriers_release_and_acquire(case):
    ptx = compiled(case, "float32", ONE).ptx
    assert "red.release.gpu" in ptx
    assert "ld.acquire.gpu" in ptx
    assert compiled(case, "float32", ONE).kernel.cooperative


@pytest.mark.parametrize("case", [*KERNELS, *RECURRENT_CASES[:2]], ids=str)
def test_links(case):
    assert compiled(case, "float32", ONE).cubin.startswith(b"\x7fELF")


def test_every_kernel_is_here():
    tested = {case.kernel for case in KERNELS}
    for _, name, _ in pkgutil.iter_modules(cuda_backend.__path__):
        made = vars(importlib.import_module(f"{cuda_backend.__name__}.{name}"))
        assert [key for key, value in made.items() if isinstance(value, Kernel) and value not in tested] == [], name


# What the checks above must catch ------------------------------------------------------------------------


@kernel
def _mixed(out, count):
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[k] = out[k] * (out[k] + 1.0)


@kernel
def _look_up(out, count):
    table = cuda.local.array(64, out.dtype)
    for k in range(64):
        table[k] = out[k]
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[k] = table[int(out[k])]


@kernel
def _many(out, count):
    sums = cuda.local.array(48, out.dtype)
    for j in range(48):
        sums[j] = 0
    for k in range(count):
        for j in range(48):
            sums[j] = sums[j] * sums[(j + 7) % 48] + out[k + j * cuda.grid(1)]
    for j in range(48):
        out[j * count + cuda.grid(1)] = sums[j]


MIXED, LOOK_UP, MANY = (Case(each.function.__name__, each, (REALS, INTEGER)) for each in (_mixed, _look_up, _many))


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_literal_in_double_precision_is_caught(capability):
    needs = MIXED.compiled("float32", capability).resources()
    assert MIXED.faults("float32", needs) == [f"{needs.doubles} instructions in double precision"]
    assert replace(MIXED, in_float64=True).faults("float32", needs) == []


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_table_on_the_stack_is_caught(capability):
    needs = LOOK_UP.compiled("float32", capability).resources()
    assert needs.stack >= 256
    assert f"stack of {needs.stack} bytes" in LOOK_UP.faults("float32", needs)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_spills_are_caught(capability):
    case = replace(MANY, registers=255)
    assert case.faults("float32", case.compiled("float32", capability).resources()) == []
    needs = case.compiled("float32", capability, max_registers=32).resources()
    assert f"spills {needs.spill_stores} bytes" in case.faults("float32", needs)


def test_too_many_registers_are_caught():
    needs = MANY.compiled("float32", ONE).resources()
    assert replace(MANY, registers=needs.registers).faults("float32", needs) == []
    assert replace(MANY, registers=needs.registers - 1).faults("float32", needs) == [
        f"{needs.registers} registers, at most {needs.registers - 1}"
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_static_memory_is_counted(dtype):
    case = next(each for each in KERNELS if each.name == "products.tiles")
    assert (
        compiled(case, dtype, ONE).resources().shared == 2 * products.DEPTH * products.PADDED * np.dtype(dtype).itemsize
    )


def test_declarations_are_no_instructions():
    assert doubles("\t.reg .f64 %fd<3>;\n\t.param .f64 .align 8 x;\n\t// add.f64\n\tmov.b64 %rd1, %rd2;\n") == 0
    assert (
        doubles("\tadd.f64 %fd1, %fd2, %fd3;\n\t@%p1 cvt.rn.f32.f64 %f1, %fd1;\n\tld.global.f64 %fd2, [%rd1];\n") == 3
    )
