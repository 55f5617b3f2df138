"""What importing numlstm loads, and what it offers."""

import subprocess
import sys

import pytest

import numlstm

HEAVY = ("numba", "llvmlite", "sklearn", "matplotlib", "torch", "cupy", "cuda", "pynvml", "tqdm")


def run(code):
    """Standard output of a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import numlstm",
        "from numlstm import LSTM; LSTM(3, 5)",
        "import numpy, numlstm; numlstm.LSTM(3, 5, backend='reference')(numpy.ones((1, 2, 3)))",
        "import numlstm; numlstm.use_backend('reference').__enter__(); numlstm.get_backend()",
    ],
)
def test_nothing_heavy_is_loaded(code):
    loaded = f"[name for name in {HEAVY} if name in sys.modules]"
    assert run(f"import sys; {code}; print({loaded})") == "[]"


CUDA = (
    "[name for name in sys.modules if name.startswith(('numba.cuda', 'numba_cuda', 'cuda', 'numlstm.backends.cuda'))]"
)


@pytest.mark.parametrize("layer", ["LSTM(3, 5, backend='cpu')", "LSTM(3, 5)"])
def test_computing_on_the_cpu_loads_no_sklearn_and_no_cuda(layer):
    code = f"import numpy, sys, numlstm; layer = numlstm.{layer}; layer.vjp(numpy.ones((1, 2, 3)))"
    assert run(f"{code}; print({CUDA}, 'sklearn' in sys.modules)") == "[] False"


def test_training_on_the_cpu_loads_no_cuda():
    code = (
        "import numpy, sys, numlstm; X = numpy.ones((4, 2, 3)); "
        "numlstm.LSTMClassifier(max_iter=1).fit(X, [0, 1, 0, 1]).predict(X)"
    )
    assert run(f"{code}; print({CUDA})") == "[]"


@pytest.mark.parametrize("name", ["cuda", "auto"])
def test_without_a_driver_nothing_of_cuda_is_loaded(name):
    code = (
        "import sys; from numlstm.backends import contract, dispatch; from numlstm.backends.cuda import availability; "
        "availability._driver_found = availability._simulated = lambda: False\n"
        f"try: print(dispatch.backend_for({name!r}, work=1e15).name)\n"
        "except contract.BackendUnavailableError: print('none')\n"
    )
    asked = ["numlstm.backends.cuda", "numlstm.backends.cuda.availability"]  # the package, and who asks for the driver
    assert run(f"{code}print({CUDA})") == f"{'none' if name == 'cuda' else 'cpu'}\n{asked}"


def test_unknown_attribute():
    with pytest.raises(AttributeError, match=r"^module 'numlstm' has no attribute 'GRUCell'$"):
        numlstm.GRUCell  # noqa: B018
    assert not hasattr(numlstm, "_nothing")


@pytest.mark.parametrize(
    "name", ["LSTM", "BackendUnavailableError", "UnsupportedError", "get_backend", "set_backend", "use_backend"]
)
def test_public_names_can_be_had_and_are_listed(name):
    value = getattr(numlstm, name)
    assert getattr(numlstm, name) is value
    assert value.__doc__
    assert name in dir(numlstm)
    assert name in numlstm.__all__


def test_metrics_are_an_attribute():
    assert "metrics" in dir(numlstm)
    assert run("import numlstm; print(numlstm.metrics.step_r2([[1.0, 2.0]], [[1.0, 2.0]]))") == "1.0"


def test_all_is_what_loads_lazily():
    assert set(numlstm.__all__) == set(numlstm._homes)


def test_version():
    assert numlstm.__version__[0].isdigit()
    assert "__version__" in dir(numlstm)
