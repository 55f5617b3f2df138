"""The comparison on a GPU, as far as it goes without one."""

import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "asv_bench"))

import gpu_contestants
import gpu_peers
import problems
from problems import FORWARD, TRAINING, Problem

BENCHMARKS = Path(gpu_peers.__file__).parent
OURS, THEIRS = ("numlstm", "fp32"), ("torch", "fp32")
FACTS = {"GPU": "GPU X", "rates": dict.fromkeys(gpu_peers.H100, 25e12), "copy": 2e12, "driver": "1.2"}
NOTHING_TO_COMPARE = "no NVIDIA GPU can be used here"

reference = cache(gpu_peers.reference)


class FakeProcess:
    """A contestant with the results of the reference, or others; `scripts` say what it does, by name."""

    scripts: dict = {}  # noqa: RUF012

    def __init__(self, kind, precision, problem):
        self.script, self.problem = self.scripts.get((kind, precision), {}), problem

    def answer(self):
        if "failure" in self.script:
            raise gpu_peers.FailedError(self.script["failure"])
        return {"version of": "1"}

    def ask(self, method, task):
        if self.script.get("dies") == (method, task):
            raise gpu_peers.FailedError("its process died")
        if method == "times":
            return [self.script.get("seconds", 1.0)] * 2
        results = dict(reference(self.problem)[task])
        if task == self.script.get("wrong"):
            results["y"] = results["y"] * 1.01
        return results

    def close(self):
        pass


@pytest.fixture
def fakes(monkeypatch):
    monkeypatch.setattr(gpu_peers, "Process", FakeProcess)
    monkeypatch.setattr(FakeProcess, "scripts", {})
    return FakeProcess.scripts


def small(**form):
    return Problem(4, 3, 5, 6, **form)


# The command line -----------------------------------------------------------------------------------------


def test_without_gpu_it_says_so_at_once():
    if gpu_peers.no_gpu() is None:
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, BENCHMARKS / "gpu_peers.py", "--quick"], capture_output=True, text=True)
    assert done.returncode == 2
    assert NOTHING_TO_COMPARE in done.stderr
    assert not done.stdout


def test_without_torch_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu_peers, "no_gpu", lambda: None)
    monkeypatch.setattr(gpu_peers.importlib.util, "find_spec", lambda name: None)
    assert gpu_peers.main([]) == 2
    assert "PyTorch is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answers", "reason"),
    [((0, 0, 2), None), ((0, 0, 0), "knows none"), ((100, 0, 1), "cuInit gave 100"), ((0, 3, 1), "GetCount gave 3")],
)
def test_the_driver_is_asked(answers, reason, monkeypatch):
    class Driver:
        def __init__(self, name):
            assert "cuda" in name

        def cuInit(self, flags):
            return answers[0]

        def cuDeviceGetCount(self, count):
            count._obj.value = answers[2]
            return answers[1]

    monkeypatch.setattr(gpu_peers.ctypes, "CDLL", Driver)
    found = gpu_peers.no_gpu()
    assert found is None if reason is None else reason in found


def test_options():
    usual, quick, full = (gpu_peers.options_of(each) for each in ([], ["--quick"], ["--full"]))
    assert len(quick.problems) < len(usual.problems) < len(full.problems)
    assert usual.minutes == gpu_peers.MINUTES
    assert full.minutes == np.inf
    assert gpu_peers.options_of(["--full", "--minutes", "3"]).minutes == 3
    assert usual.output == BENCHMARKS / "gpu_peers"
    assert gpu_peers.options_of(["--output", "/else/x"]).output == Path("/else/x")
    assert usual.names == gpu_peers.CONTESTANTS
    assert gpu_peers.options_of(["--only", "bf16", "--vjp"]).names == [
        OURS, ("numlstm vjp", "fp32"), ("numlstm", "bf16"), THEIRS, ("torch", "bf16"),
    ]  # fmt: skip


def test_all_sizes_are_in_full():
    sizes = {(p.T, p.N, p.H) for p in gpu_peers.FULL if p.layers == 1 and not p.bidirectional and not p.ragged}
    assert sizes == {*itertools.product(gpu_peers.STEPS, gpu_peers.ROWS, gpu_peers.UNITS)}
    for sizes_of_a_run in (gpu_peers.FULL, gpu_peers.USUAL, gpu_peers.SMALL):
        assert {p.layers for p in sizes_of_a_run} == {1, 2}
        assert {p.bidirectional for p in sizes_of_a_run} == {p.ragged for p in sizes_of_a_run} == {False, True}
        assert len({*sizes_of_a_run}) == len(sizes_of_a_run)
        assert all(p.D == p.H for p in sizes_of_a_run)
    assert {*gpu_peers.QUICK} <= {*gpu_peers.USUAL}


# Floors and tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("H", "N", "fp32", "tf32", "fp16", "read32", "read16"),
    [
        (256, 32, 0.34, 0.07, 0.03, 0.78, 0.39),
        (256, 256, 2.7, 0.54, 0.24, 6.2, 3.1),
        (512, 64, 2.7, 0.54, 0.24, 3.1, 1.6),
        (1024, 32, 5.4, 1.1, 0.49, 3.1, 1.6),
    ],
)
def test_floors_are_those_estimated_for_an_h100(H, N, fp32, tf32, fp16, read32, read16):
    rates = gpu_peers.H100
    got = [gpu_peers.recurrent_floor(H, N, rates[precision]) for precision in ("fp32", "tf32", "fp16")]
    got += [gpu_peers.exchange_floor(H, N, size) for size in (4, 2)]
    np.testing.assert_allclose(1e6 * np.array(got), (fp32, tf32, fp16, read32, read16), rtol=0.05)


def test_the_floor_of_a_problem_counts_all_its_products():
    plain = Problem(7, 3, 5, 5)
    assert gpu_peers.floor_of(plain, FORWARD, 1.0) == 2 * gpu_peers.recurrent_floor(5, 3, 1.0)
    assert gpu_peers.floor_of(plain, TRAINING, 1.0) == 6 * gpu_peers.recurrent_floor(5, 3, 1.0)
    assert gpu_peers.floor_of(Problem(7, 3, 5, 5, layers=2), FORWARD, 2.0) == gpu_peers.floor_of(plain, FORWARD, 1.0)
    both = Problem(7, 3, 5, 5, layers=2, bidirectional=True)
    assert both.flop(False) == 7 * 3 * 8 * 5 * (2 * (5 + 5) + 2 * (10 + 5))
    ragged = Problem(7, 3, 5, 5, ragged=True)
    assert ragged.flop(False) == plain.flop(False) * ragged.lengths().sum() / 21


def cells(line):
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def test_rows_fit_their_header():
    names, problem = gpu_peers.CONTESTANTS, gpu_peers.square(100, 32, 256)
    times = {name: [2e-4 * (k + 1), 4e-4 * (k + 1)] for k, name in enumerate(names)}
    titles, rule = gpu_peers.header(names)
    line = gpu_peers.row(problem, FORWARD, times, {}, names, FACTS["rates"])
    assert len(cells(titles)) == len(cells(rule)) == len(cells(line))
    got = dict(zip(cells(titles), cells(line), strict=False))
    assert got["(T, N, I, H)"] == "(100, 32, 256, 256)"
    assert got["numlstm fp32"] == "2 (3)"
    assert got["torch / numlstm, fp32"] == "5.00"
    floor, share, measured = cells(line)[cells(titles).index("torch / numlstm, fp32") + 1 :][:3]
    assert float(floor) == pytest.approx(2 * 0.3355, rel=1e-2)
    assert share == "34%"
    assert measured == "67%"


def test_what_was_not_timed_is_named():
    names, problem = [OURS, THEIRS, ("torch", "bf16")], small()
    failures = {OURS: "wrong: y is off", ("torch", "bf16"): "no answer"}
    line = cells(gpu_peers.row(problem, TRAINING, {THEIRS: [1.0]}, failures, names, FACTS["rates"]))
    assert line[2:5] == ["wrong", "2.5e+05 (2.5e+05)", "failed"]
    assert line[5] == line[7] == line[8] == ""


def test_the_table_of_floors():
    lines = gpu_peers.floor_table()
    assert cells(lines[3]) == ["256, 32", "0.34", "0.067", "0.031", "0.79", "0.39"]


# Problems -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [{}, {"layers": 2}, {"bidirectional": True}, {"ragged": True}])
def test_problems_are_the_same_everywhere(form):
    first, second = Problem(40, 3, 5, 7, **form), Problem(40, 3, 5, 7, **form)
    for one, other in zip(first.data(), second.data(), strict=True):
        np.testing.assert_array_equal(one, other)
    weights = first.weights()
    assert all(np.array_equal(value, second.weights()[name]) for name, value in weights.items())
    assert max(abs(value).max() for value in weights.values()) <= 7**-0.5
    x, dy, lengths = first.data()
    assert x.shape == (3, 40, 5)
    assert dy.shape == (3, 40, first.outputs)
    assert x.dtype == dy.dtype == np.float32
    if "ragged" in form:
        assert lengths.max() == 40
        assert lengths.min() < 40
        assert all(not x[row, length:].any() and x[row, length - 1].any() for row, length in enumerate(lengths))


def test_large_data_repeat_but_rows_differ(monkeypatch):
    monkeypatch.setattr(problems, "REPEATED", 101)
    x, _, _ = Problem(10, 8, 5, 5).data()
    assert len({row.tobytes() for row in x}) == 8


def test_a_sample_has_all_units(monkeypatch):
    monkeypatch.setattr(gpu_contestants, "SAMPLE", 100)
    places = gpu_contestants.sample(np.arange(3200))
    assert 90 < len(places) <= 100
    assert {*(places % 32)} == {*range(32)}
    np.testing.assert_array_equal(gpu_contestants.sample(np.arange(7)), np.arange(7))


# Validation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [FORWARD, TRAINING])
def test_what_is_wrong_is_not_timed(task, fakes):
    fakes[OURS] = {"wrong": task}
    group = gpu_peers.Group(small(), [OURS, THEIRS])
    group.validate()
    assert [*group.running] == [THEIRS]
    assert group.failures[OURS].startswith(f"wrong: {task}: y is off by")
    assert [*group.times(FORWARD, 2)] == [THEIRS]


@pytest.mark.parametrize("when", [("results", FORWARD), ("times", TRAINING)])
def test_who_dies_is_left_out(when, fakes):
    fakes[OURS] = {"dies": when}
    group = gpu_peers.Group(small(), [OURS, THEIRS])
    group.validate()
    times = group.times(when[1], 3)
    assert [*times] == [THEIRS]
    assert len(times[THEIRS]) == 6
    assert group.failures == {OURS: "its process died"}


def test_without_a_judge_nothing_is_timed(fakes):
    fakes[THEIRS] = {"failure": "out of memory"}
    group = gpu_peers.Group(small(), [OURS, THEIRS])
    group.validate()
    assert not group.running
    assert group.failures == {OURS: "nothing to compare with", THEIRS: "out of memory"}


def test_nan_and_other_shapes_are_wrong():
    good = {FORWARD: {"y": np.ones(3)}, TRAINING: {"y": np.ones(3), "dx": np.ones(2)}}
    assert gpu_peers.fault_of(good, good, 1e-4) is None
    for wrong in (np.array([1, np.nan]), np.ones(3), None):
        bad = {FORWARD: good[FORWARD], TRAINING: good[TRAINING] | {"dx": wrong}}
        assert gpu_peers.fault_of(bad, good, 1e-4).startswith(f"{TRAINING}: dx ")
    assert gpu_peers.fault_of(good, {FORWARD: {"y": np.full(3, np.nan)}}, 1e-4)


def test_precisions_that_are_not_offered_are_no_fault(fakes):
    fakes["numlstm", "tf32"] = {"failure": "ValueError: compute_dtype must be one of those"}
    fakes["torch", "bf16"] = {"failure": "no compute_dtype"}
    names, facts, faults = gpu_peers.check_small_sizes(gpu_peers.CONTESTANTS)
    gone = [("numlstm", "tf32"), ("torch", "bf16")]
    assert names == [name for name in gpu_peers.CONTESTANTS if name not in gone]
    assert len(faults) == 1
    assert faults[0].startswith("torch bf16")
    assert facts == {"version of": "1"}


# The run --------------------------------------------------------------------------------------------------


@pytest.fixture
def options(fakes, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_peers, "no_gpu", lambda: None)
    monkeypatch.setattr(gpu_peers, "has_torch", lambda: True)
    monkeypatch.setattr(gpu_peers, "measured", lambda: FACTS)
    monkeypatch.setattr(gpu_peers, "SMALL", [small()])
    monkeypatch.setattr(gpu_peers, "QUICK", [small(), small(ragged=True)])
    fakes[THEIRS] = {"seconds": 3.0}
    return ["--quick", "--output", str(tmp_path / "out")]


def test_a_whole_run(options, tmp_path):
    pytest.importorskip("matplotlib")
    assert gpu_peers.main([*options, "--only"]) == 0
    text = (tmp_path / "out.md").read_text()
    assert "GPU X; driver 1.2" in text
    assert "products of PyTorch fp32 25, tf32 25, fp16 25, bf16 25 TFLOP/s, copies 2 TB/s" in text
    assert text.count("| (4, 3, 5, 6) |") == 2
    assert text.count("| (4, 3, 5, 6), lengths 1..T |") == 2
    assert text.count("| 3.00 |") == 4
    assert "forward: geometric mean of torch / numlstm 3.00" in text
    assert (tmp_path / "out.png").stat().st_size > 1000


def test_a_run_without_matplotlib(options, tmp_path, monkeypatch):
    find = gpu_peers.importlib.util.find_spec
    monkeypatch.setattr(
        gpu_peers.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find("sys")
    )
    assert gpu_peers.main([*options, "--only"]) == 0
    assert (tmp_path / "out.md").exists()
    assert not (tmp_path / "out.png").exists()


def test_faults_are_told_and_counted(options, tmp_path, fakes, capsys):
    fakes[OURS] = {"wrong": TRAINING}
    assert gpu_peers.main([*options, "--only"]) == 1
    assert "numlstm fp32, (4, 3, 5, 6): wrong" in capsys.readouterr().out


def test_a_fault_at_a_timed_size(options, tmp_path, fakes):
    fakes[OURS] = {"dies": ("times", TRAINING)}
    assert gpu_peers.main([*options, "--only"]) == 1
    assert "- numlstm fp32, (4, 3, 5, 6): its process died" in (tmp_path / "out.md").read_text()


def test_checking_times_nothing(options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_peers.Group, "times", None)
    assert gpu_peers.main([*options, "--check", "--only"]) == 0
    assert capsys.readouterr().out.count("2 contestants agree") == 3
    assert not [*tmp_path.iterdir()]


def test_no_size_is_begun_when_time_is_over(options, capsys):
    assert gpu_peers.main([*options, "--only", "--minutes", "0"]) == 0
    assert capsys.readouterr().out.count("no time left") == 2


# Contestants, on the processor ----------------------------------------------------------------------------


@pytest.fixture
def on_cpu(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(gpu_contestants.Contestant, "place", "cpu")
    monkeypatch.setattr(gpu_contestants.Contestant, "wait", lambda self: None)
    monkeypatch.setattr(gpu_contestants, "TURN", 0.01)
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = kept


@pytest.mark.parametrize("problem", gpu_peers.SMALL, ids=str)
@pytest.mark.parametrize("kind", ["numlstm", "numlstm vjp", "torch"])
def test_contestants_give_what_the_reference_gives(kind, problem, on_cpu):
    contestant = gpu_contestants.KINDS[kind](problem, "fp32")
    results = {task: contestant.results(task) for task in (FORWARD, TRAINING)}
    assert gpu_peers.fault_of(results, gpu_peers.reference(problem), 1e-5) is None
    assert {*results[TRAINING]} == {"y", "dx", *problem.weights()}
    assert len(contestant.times(FORWARD)) >= gpu_contestants.CALLS[0]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_low_precision_is_close(precision, on_cpu):
    problem = gpu_peers.SMALL[0]
    contestant = gpu_contestants.Torch(problem, precision)
    results = {task: contestant.results(task) for task in (FORWARD, TRAINING)}
    expected = gpu_peers.reference(problem)
    assert gpu_peers.fault_of(results, expected, gpu_peers.TOLERANCE[precision]) is None
    assert gpu_peers.fault_of(results, expected, 1e-4) is not None


def test_a_process_serves(on_cpu):
    class Connection:
        def __init__(self, *requests):
            self.requests, self.sent = [*requests], []

        def recv(self):
            return self.requests.pop(0)

        def send(self, value):
            self.sent.append(value)

    good = Connection(("results", FORWARD), ("times", TRAINING), None)
    gpu_contestants.serve(good, "torch", "fp32", small())
    assert [each[0] for each in good.sent] == [True] * 3
    assert {*good.sent[1][1]} == {"y"}
    bad = Connection(("results", "nothing"))
    gpu_contestants.serve(bad, "torch", "fp32", small())
    assert bad.sent[-1] == (False, "KeyError: 'nothing'")


def test_processes_answer_and_end():
    process = gpu_peers.Process("unheard of", "fp32", small())
    with pytest.raises(gpu_peers.FailedError, match="KeyError: 'unheard of'"):
        process.answer()
    with pytest.raises(gpu_peers.FailedError, match="its process died"):
        process.ask("results", FORWARD)
    process.close()
    assert not process.process.is_alive()


def test_no_answer_in_time_ends_a_process(monkeypatch):
    monkeypatch.setattr(gpu_peers, "PATIENCE", 0)
    process = gpu_peers.Process("numlstm", "fp32", small())
    with pytest.raises(gpu_peers.FailedError, match="no answer in 0 seconds"):
        process.answer()
    assert not process.process.is_alive()
