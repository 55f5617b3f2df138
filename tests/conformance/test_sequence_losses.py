"""Losses over whole sequences on every backend, against the reference; sizes for the simulator are small."""

from dataclasses import replace

import pytest
from conformance_backends import BACKENDS, SIMULATED, make, sized
from sequence_losses import (
    SequenceCase,
    check_equal_weights_of_steps,
    check_forbidden,
    check_impossible,
    check_nan_in_sequence_loss,
    check_readings,
    check_rows_alone,
    check_sequence_loss,
)

from numlstm.backends.contract import UnsupportedError

if SIMULATED:  # a GPU does not warn
    pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:numlstm.backends.cuda")

SHAPES = sized(
    [
        {},
        {"rows": 1, "steps": 1, "outputs": 2, "places": 1, "lengths": "full"},
        {"rows": 2, "steps": 9, "outputs": 3, "places": 0},
        {"rows": 13, "steps": 40, "outputs": 9, "places": 8, "layout": "strided"},
        {"rows": 3, "steps": 20, "outputs": 33, "places": 5, "lengths": "full", "blank": 32},
        {"rows": 4, "steps": 60, "outputs": 17, "places": 20, "size": 60.0, "layout": "time first"},
        {"rows": 40, "steps": 11, "outputs": 8, "places": 4, "layout": "rows reversed", "blank": 3},
        {"rows": 4, "steps": 8, "outputs": 5, "places": 3, "size": 1e3},
    ],
    [
        {"rows": 3, "steps": 4, "outputs": 3, "places": 2},
        {"rows": 1, "steps": 1, "outputs": 2, "places": 1, "lengths": "full"},
        {"rows": 2, "steps": 5, "outputs": 6, "places": 0, "layout": "strided"},
        {"rows": 2, "steps": 6, "outputs": 5, "places": 3, "size": 1e3, "blank": 2, "lengths": "full"},
    ],
)
KINDS = ["ctc", "crf"]
SMALL = sized({}, {"rows": 3, "steps": 4, "outputs": 3, "places": 2})


@pytest.fixture(params=BACKENDS)
def backend(request):
    return make(request.param)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_sequence_loss(backend, kind, shape, dtype):
    check_sequence_loss(backend, SequenceCase(kind, dtype, **shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weights_of_steps_of_a_crf(backend, shape, dtype):
    case = SequenceCase("crf", dtype, **shape)
    check_sequence_loss(backend, replace(case, by_step=True))
    check_equal_weights_of_steps(backend, case)


def test_ctc_refuses_weights_of_steps(backend):
    with pytest.raises(UnsupportedError, match="weights of steps need a loss of kind 'crf', got 'ctc'"):
        check_sequence_loss(backend, SequenceCase("ctc", by_step=True, **SMALL))


LOSSES = [{"kind": "ctc"}, {"kind": "crf"}, {"kind": "crf", "by_step": True}]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_rows_stand_alone(backend, loss):
    check_rows_alone(backend, SequenceCase(**loss, **SMALL))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_nan(backend, loss):
    check_nan_in_sequence_loss(backend, SequenceCase(**loss, **SMALL))


def test_impossible(backend):
    check_impossible(backend, SequenceCase(**SMALL))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forbidden_pairs_of_a_crf(backend, dtype):
    check_forbidden(backend, SequenceCase("crf", dtype, **SMALL))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_readings(backend, shape, dtype):
    check_readings(backend, SequenceCase("crf", dtype, **shape))
