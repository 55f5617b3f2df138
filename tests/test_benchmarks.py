"""Benchmarks for airspeed velocity run, measure what the reference confirms, and refuse what it does not."""

import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from numlstm.layers.stream import Stream

sys.path.insert(0, str(Path(__file__).parents[1] / "asv_bench"))

import benchmarks
import limit
import tables
from benchmarks import cold_start, common, fitting, models_in_files, streaming

MODULES = ("cold_start", "fitting", "layers", "memory", "models_in_files", "options", "streaming")
LONG = ("track_first_call", "track_first_gradient")  # they compile for as long as a user would wait
WRONG = common.WrongResultError


def classes():
    """What holds benchmarks."""
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.{name}")
        yield from (
            each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__
        )


def first(kind):
    """The first of each of its parameters."""
    axes = kind.params if isinstance(kind.params[0], tuple) else (kind.params,)
    assert len(axes) == len(kind.param_names)
    return [axis[0] for axis in axes]


BENCHMARKS = [
    (kind, name) for kind in classes() for name in dir(kind) if re.match("(time|timeraw|track|peakmem)_", name)
]


@pytest.fixture
def forgetful():
    """Nothing is kept of what was set up before, nor for what comes after."""
    kept = common.validated, streaming.steps_of, fitting.fitted, models_in_files.graph_of
    for each in kept:
        each.cache_clear()
    yield
    for each in kept:
        each.cache_clear()


def test_every_module_is_here_and_has_benchmarks():
    assert {module.name for module in pkgutil.iter_modules(benchmarks.__path__)} == {*MODULES, "common"}
    assert {kind.__module__ for kind, _ in BENCHMARKS} == {f"benchmarks.{name}" for name in MODULES}
    assert {name for _, name in BENCHMARKS} >= {*LONG}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in BENCHMARKS if name not in LONG])
def test_runs(kind, name):
    benchmark, parameters = kind(), first(kind)
    if hasattr(benchmark, "setup"):
        benchmark.setup(*parameters)
    result = getattr(benchmark, name)(*parameters)
    if name.startswith("timeraw_"):
        exec(result, {})
    elif name.startswith("track_"):
        assert result > 0
        assert kind.unit in ("seconds", "bytes")


@pytest.mark.parametrize("kind", [kind for kind in classes() if hasattr(kind, "setup")])
def test_set_up_compares_with_the_reference(kind, forgetful, monkeypatch):
    def refuse(*arguments, **options):
        raise WRONG

    for module in (common, fitting, models_in_files):
        monkeypatch.setattr(module, "check_close", refuse)
    with pytest.raises(WRONG):
        kind().setup(*first(kind))


@pytest.mark.parametrize("code", [cold_start.FIRST_CALL, cold_start.FIRST_GRADIENT])
def test_what_is_timed_cold_runs(code):
    assert 0 < cold_start.seconds(code, os.environ["NUMBA_CACHE_DIR"]) < 60


def test_cold_starts_have_an_empty_cache_or_a_filled_one(monkeypatch):
    calls = []
    monkeypatch.setattr(cold_start, "seconds", lambda code, cache: calls.append((code, cache)) or 10 - len(calls))
    assert cold_start.FirstUse().track_first_call("empty") == 9
    assert cold_start.FirstUse().track_first_gradient("filled") == 5
    assert [code for code, _ in calls] == [cold_start.FIRST_CALL] + [cold_start.FIRST_GRADIENT] * 4
    assert len({cache for _, cache in calls}) == 2


@pytest.mark.parametrize("cell", common.CELLS)
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"])
def test_a_wrong_weight_is_refused(cell, name):
    problem = common.problem(cell, (4, 2, 3, 5))
    problem.validate()
    wrong = dict(problem.layer.parameters)
    wrong[name] = wrong[name] + np.float32(1e-3) * (np.arange(wrong[name].size) == 2).reshape(wrong[name].shape)
    problem.layer.set_parameters(wrong)
    with pytest.raises(WRONG):
        problem.validate()


@pytest.mark.parametrize("name", ["y", "dx", "weight_ih_l0", "weight_hh_l0", "bias_hh_l0"])
def test_a_wrong_gradient_is_refused(name, monkeypatch):
    problem, right = common.problem("LSTM", (4, 2, 3, 5)), common.training_step

    def wrong(layer, *arguments):
        result = right(layer, *arguments)
        return result | ({name: result[name] * 1.001} if layer is problem.layer else {})

    monkeypatch.setattr(common, "training_step", wrong)
    with pytest.raises(WRONG, match=f"^{name} "):
        problem.validate()


def test_wrong_inference_is_refused(monkeypatch):
    right = common.Problem.forward
    monkeypatch.setattr(common.Problem, "forward", lambda self: right(self) * 1.001)
    with pytest.raises(WRONG, match=r"^inference "):
        common.problem("LSTM", (4, 2, 3, 5)).validate()


def test_a_wrong_stream_is_refused(forgetful, monkeypatch):
    right = Stream.step
    monkeypatch.setattr(Stream, "step", lambda self, x: right(self, x) * 1.001)
    with pytest.raises(WRONG, match=r"^stream\.step "):
        streaming.steps_of("LSTM", 1)


@pytest.mark.parametrize("data", fitting.DATA)
def test_a_wrong_fit_is_refused(data, monkeypatch):
    right = fitting.scores
    monkeypatch.setattr(fitting, "scores", lambda model, X: right(model, X) * (1.001 if model.backend == "cpu" else 1))
    with pytest.raises(WRONG, match=r"^prediction "):
        fitting.check_fit(*fitting.DATA[data]("lstm"))


def test_another_shape_and_nan_are_refused():
    ones = np.ones((2, 3))
    common.check_close("ones", ones, ones)
    for wrong in (ones[:1], ones * np.nan):
        with pytest.raises(WRONG):
            common.check_close("ones", wrong, ones)
        with pytest.raises(WRONG):
            common.check_close("ones", ones, wrong)


def test_a_wrong_graph_is_refused(forgetful, monkeypatch):
    right = models_in_files.from_onnx

    def wrong(model, **options):
        graph = right(model, **options)
        run = graph.run
        graph.run = lambda feeds: [array * 1.001 for array in run(feeds)]
        return graph

    monkeypatch.setattr(models_in_files, "from_onnx", wrong)
    with pytest.raises(WRONG, match=r"^graph is off"):
        models_in_files.graph_of((1, 1, 16, 64))


def test_the_limit_computes_equations_and_comes_closer_with_each_run(monkeypatch):
    monkeypatch.setattr(limit, "RUNS", 2)
    measured = limit.Limit(1)
    first, second = measured.measure(), measured.measure()
    assert (first > 0).all()
    assert second[0] >= first[0]
    assert (second[1:3] <= first[1:3]).all()
    sums, records, gradients, gates, _ = measured.equations[0].kept
    rows, lanes = limit.ROWS, gates.shape[1] // limit.GATES
    h, c, i, f, g, o = records[rows:].swapaxes(0, 1)
    np.testing.assert_allclose(c, f * records[:rows, 1] + i * g, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(h, o * np.tanh(c), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(i, 1 / (1 + np.exp(-sums[:, :lanes])), rtol=1e-5)
    assert gradients.shape == (rows, 4, lanes)
    gradient = gradients[:, 2] * np.tanh(c) * o * (1 - o)
    np.testing.assert_allclose(gates[:, 3 * lanes :], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shares", ["| 50% |", "| 50% | 75% |"])
def test_the_short_table_has_ratios_whatever_shares_follow(shares):
    names = "| (T, N, I, H) | | numlstm | torch | best peer / numlstm |" + " of peak |" * (shares.count("%"))
    rows = [f"| (1, 2, 3, 4) | {task} | 0.5 (0.6) | 1 (2) | 2.00 {shares}" for task in ("forward", "forward + BPTT")]
    means = ["forward: geometric mean 2.01", "forward + BPTT: geometric mean 1.99"]  # of times before these are rounded
    lines = tables.short("\n".join([names, *rows, *means])).splitlines()
    assert lines[2] == "| (1, 2, 3, 4) | 0.5 | 1 | 2.00 | 0.5 | 1 | 2.00 |"
    assert lines[3] == "| geometric mean | | | 2.01 | | | 1.99 |"


def script(name):
    """A benchmark that is a program of its own; tests have modules of the same names."""
    spec = importlib.util.spec_from_file_location(f"asv_bench_{name}", Path(tables.__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["LSTM", "weight_dropout"])
def test_steps_of_variants_run(name, monkeypatch):
    variants = script("variants")
    for size in ("N", "T", "INPUTS", "UNITS"):
        monkeypatch.setattr(variants, size, 3)
    times = variants.best({name: variants.step_of(*variants.VARIANTS[name])})
    assert times[name] > 0


@pytest.mark.parametrize("kind", ["numbers", "characters", "labels of steps"])
def test_steps_with_an_overhead_run(kind):
    overhead = script("overhead")
    trainer = overhead.random_trainer(4, 3, 2, 5, True, kind)
    assert kind in overhead.KINDS
    assert overhead.seconds_per_step(trainer) > 0
