"""Long Short-Term Memory: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000."""

from .cell import Cell, Phase
from .elementary import sigmoid, tanh


def forward(one, i, f, g, o, c_prev):
    """``c = f * c_prev + i * g``, ``h = o * tanh(c)``."""
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c_prev + i * g
    return o * tanh(c), c, i, f, g, o


def backward(one, dh, dc, i, f, g, o, c, c_prev):
    """Gradients of the pre-activations, and of the cell state of the step before."""
    t = tanh(c)
    dc = dc + dh * o * (one - t * t)
    di = dc * g * (i - i * i)
    df = dc * c_prev * (f - f * f)
    dg = dc * i * (one - g * g)
    do = dh * t * (o - o * o)
    return di, df, dg, do, dc * f


LSTM = Cell(
    name="lstm",
    states=("h", "c"),
    phases=(
        Phase(
            gates=("input_gate", "forget_gate", "cell_input", "output_gate"),
            source="h_prev",
            reads=("c_prev",),
            gives=("h", "c"),
            keeps=("i", "f", "g", "o"),
            uses=("i", "f", "g", "o", "c", "c_prev"),
            forward=forward,
            backward=backward,
        ),
    ),
)
