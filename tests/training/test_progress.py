"""What users see of training: in terminals of any width, in logs and in notebooks, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from numlstm import LSTMClassifier
from numlstm.training import progress
from numlstm.training.progress import Display, LineDisplay, Progress, display

X = np.random.default_rng(0).normal(size=(10, 3, 2))
Y = [0, 1] * 5


def after(epoch, epochs=100, validation=True):
    """What is known after an epoch."""
    looked = {"validation_loss": 0.00023456789, "validation_score": 0.98765432} if validation else {}
    looked = {"validation_loss": None, "validation_score": None} | looked
    return Progress(
        epoch, epochs, loss=0.00012345678, learning_rate=0.1, seconds=1.0, sequences_per_second=4321.0, **looked
    )


FIGURES = "loss 0.0001235, validation loss 0.0002346, score 0.9877"


def fit(**options):
    options = {"hidden_size": 3, "max_iter": 9, "random_state": 0, "tol": 0.0, "verbose": 1} | options
    return LSTMClassifier(backend="reference", **options).fit(X, Y)


# Logs -----------------------------------------------------------------------------------------------------


def test_a_log_has_the_first_and_the_last_epoch_and_some_between(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with display(1, 8, 10) as shown:
        for epoch in range(1, 9):
            shown.show(after(epoch, 8))
            now[0] += 2.0
    written = capsys.readouterr().err
    assert written.endswith("\n")
    assert "\r" not in written
    lines = written.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/8", "epoch 4/8", "epoch 7/8", "epoch 8/8"]
    assert lines[0] == f"epoch 1/8: {FIGURES}, 4321 sequences/s"


def test_with_two_it_has_every_epoch(capsys):
    with display(2, 8, 10) as shown:
        for epoch in range(1, 9):
            shown.show(after(epoch, 8, validation=False))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"epoch {epoch}/8: loss 0.0001235, 4321 sequences/s" for epoch in range(1, 9)]


def test_without_it_nothing_is_shown(capsys):
    fit(verbose=0)
    assert capsys.readouterr().err == ""


def test_without_standard_error_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    fit(verbose=1)
    fit(verbose=2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verbose", [1, 2])
def test_standard_error_may_be_anything_that_takes_text(monkeypatch, verbose):
    """Programs that send it to their log put an object with a method alone in its place."""
    written = []
    monkeypatch.setattr(sys, "stderr", type("Log", (), {"write": staticmethod(written.append)})())
    fit(verbose=verbose)
    assert written[0].startswith("epoch 1/9: loss ")


# Ends -----------------------------------------------------------------------------------------------------


def interrupt(seen):
    if seen.epoch == 3:
        raise KeyboardInterrupt


ENDS = {
    "patience": ({"n_iter_no_change": 2, "tol": 9.0}, "epoch 3/9: stopped, no improvement for 2 epochs: loss "),
    "least patience": ({"n_iter_no_change": 1, "tol": 9.0}, "epoch 2/9: stopped, no improvement for 1 epoch: loss "),
    "callback": ({"callback": lambda seen: seen.epoch == 4}, "epoch 4/9: stopped by a callback: loss "),
    "interruption": ({"callback": interrupt}, "epoch 3/9: interrupted: loss "),
    "all epochs": ({}, "epoch 9/9: loss "),
    "a callback's wish at the end": ({"callback": lambda seen: seen.epoch == 9}, "epoch 9/9: loss "),
}


@pytest.mark.filterwarnings("ignore:Training interrupted")
@pytest.mark.parametrize(("options", "end"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("verbose", [1, 2])
def test_the_last_line_says_why_it_is_the_last(capsys, options, end, verbose):
    fit(verbose=verbose, **options)
    assert capsys.readouterr().err.splitlines()[-1].startswith(end)


def test_an_interruption_in_the_first_epoch(capsys):
    with display(1, 9, 10) as shown:
        shown.stop("interrupted")
    assert capsys.readouterr().err == "epoch 0/9: interrupted\n"


# Terminals ------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal that stands in for standard error."""

    def __init__(self, monkeypatch, columns):
        import fcntl
        import pty
        import struct
        import termios

        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        monkeypatch.setattr(sys, "stderr", self.stream)
        self.received = bytearray()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                part = os.read(self.master, 1 << 16)
            except OSError:  # of Linux, when the other side is closed
                part = b""
            if not part:
                return
            self.received += part

    def frames(self):
        """All that stood in a line at some time; ends the terminal."""
        self.stream.close()
        self.reader.join(10)
        os.close(self.master)
        return [frame for frame in re.split(r"[\r\n]+", self.received.decode()) if frame.strip()]


terminals = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")


@terminals
@pytest.mark.parametrize("columns", [80, 110, 200])
def test_losses_and_score_are_seen_at_any_width(monkeypatch, columns):
    terminal = Terminal(monkeypatch, columns)
    with display(1, 100, 10) as shown:
        for epoch in range(1, 101):
            shown.update(10)
            shown.show(after(epoch))
    frames = terminal.frames()
    assert max(map(len, frames)) < columns
    for epoch in range(1, 101):
        assert any(frame.startswith(f"epoch {epoch}/100: {FIGURES} ") for frame in frames), epoch
    assert frames[-1].startswith(f"epoch 100/100: {FIGURES} 100% ")
    assert ("sequences/s" in frames[-1]) == (columns >= 110)


@terminals
@pytest.mark.parametrize("columns", [110, 200])
def test_the_bar_takes_the_room_there_is(monkeypatch, columns):
    terminal = Terminal(monkeypatch, columns)
    with display(1, 100, 10) as shown:
        shown.update(1000)
        shown.show(after(100))
    frame = terminal.frames()[-1]
    assert frame.count("█") > columns - 110
    assert len(frame) == columns - 1


@terminals
@pytest.mark.filterwarnings("ignore:Training interrupted")
@pytest.mark.parametrize(("options", "end"), ENDS.values(), ids=ENDS)
def test_the_bar_of_a_terminal_gives_way_to_the_reason(monkeypatch, options, end):
    terminal = Terminal(monkeypatch, 80)
    fit(**options)
    frames = terminal.frames()
    assert any("|" in frame for frame in frames)
    assert frames[-1].startswith(end)
    assert ("|" in frames[-1]) == end.startswith("epoch 9/9")


@terminals
def test_with_two_a_terminal_has_lines(monkeypatch):
    terminal = Terminal(monkeypatch, 80)
    fit(verbose=2)
    assert [frame.split(":")[0] for frame in terminal.frames()] == [f"epoch {k}/9" for k in range(1, 10)]


@terminals
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_a_lock_of_another_thread(monkeypatch):
    from tqdm import tqdm

    held, release = threading.Event(), threading.Event()

    def hold():
        with tqdm.get_lock():
            held.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
        child = os.fork()
    if not child:
        code = 1
        try:
            Terminal(monkeypatch, 80)
            with display(1, 9, 10) as shown:
                shown.show(after(1, 9))
            code = 0 if type(shown).__name__ == "BarDisplay" else 2
        finally:
            os._exit(code)
    end = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.02)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    release.set()
    holder.join()
    assert ended[0], "the child hangs"
    assert os.waitstatus_to_exitcode(ended[1]) == 0


# Notebooks ------------------------------------------------------------------------------------------------

NOTEBOOK = """
import sys, types, warnings

class ZMQInteractiveShell:
    pass

for name in ("IPython", "IPython.display", "ipykernel", "ipykernel.zmqshell"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["IPython"].get_ipython = ZMQInteractiveShell
sys.modules["IPython.display"].display = lambda shown: print("displayed", type(shown).__name__)
{widgets}
import numpy as np
from numlstm.training.progress import Progress, display
warnings.simplefilter("error")
with display(1, 3, 10) as shown:
    for epoch in range(1, 4):
        shown.update(10)
        shown.show(Progress(epoch, 3, 0.5, None, None, 0.1, 1.0, 1.0))
print(type(shown).__name__, type(getattr(shown, "bar", None)).__module__)
"""
WIDGETS = """
class Widget:
    layout, style, bar_style = types.SimpleNamespace(), types.SimpleNamespace(), ""

    def __init__(self, children=(), **options):
        self.children, self.value = children, ""

    def close(self):
        pass

sys.modules["ipywidgets"] = types.ModuleType("ipywidgets")
for name in ("HTML", "FloatProgress", "HBox"):
    setattr(sys.modules["ipywidgets"], name, type(name, (Widget,), {}))
"""


def in_notebook(widgets):
    """Both streams of a process that tqdm takes for a notebook's."""
    code = NOTEBOOK.format(widgets=widgets)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_a_notebook_without_widgets_has_lines():
    out, error = in_notebook("sys.modules['ipywidgets'] = None")
    assert out == ["LineDisplay builtins"]
    assert error == ["epoch 1/3: loss 0.5, 1 sequences/s", "epoch 3/3: loss 0.5, 1 sequences/s"]


def test_a_notebook_with_widgets_has_a_bar():
    out, error = in_notebook(WIDGETS)
    assert out == ["displayed TqdmHBox", "BarDisplay tqdm.notebook"]
    assert not error


def test_what_shows_nothing_takes_everything():
    with Display(3) as shown:
        shown.update(5)
        shown.show(after(1))
        shown.stop("enough")
    assert not isinstance(shown, LineDisplay)
