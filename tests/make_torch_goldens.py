"""Write tests/data/torch_lstm.npz: what torch.nn.LSTM computes in float64. Run it where PyTorch is installed."""

from pathlib import Path

import numpy as np
from lstm_cases import CASES, joined, named

GOLDENS = Path(__file__).parent / "data" / "torch_lstm.npz"


def torch_run(case, inputs, dtype="float64"):
    """What `Case.run` returns, by PyTorch."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    real = getattr(torch, dtype)

    def tensors(*names):
        return [torch.tensor(inputs[name], dtype=real, requires_grad=True) for name in names]

    layer = torch.nn.LSTM(
        case.features, case.units, case.num_layers, bias=case.bias, batch_first=True,
        bidirectional=case.bidirectional, dtype=real,
    )  # fmt: skip
    layer.load_state_dict({name: torch.tensor(inputs[name]) for name in layer.state_dict()})
    (x,) = tensors("x")
    if case.with_state:
        state = tensors("h_0", "c_0")
    else:
        state = [torch.zeros(inputs["dh_n"].shape, dtype=real, requires_grad=True) for _ in range(2)]
    if case.lengths is None:
        y, final = layer(x, state)
    else:
        packed = pack_padded_sequence(x, torch.tensor(case.lengths), batch_first=True, enforce_sorted=False)
        packed, final = layer(packed, state)
        y, _ = pad_packed_sequence(packed, batch_first=True, total_length=case.steps)
    wanted = [x, *state, *layer.parameters()]
    dx, *rest = torch.autograd.grad([y, *final], wanted, tensors("dy", "dh_n", "dc_n"))
    arrays = [value.detach().numpy() for value in (y, *final, dx, *rest)]
    dparameters = dict(zip((name for name, _ in layer.named_parameters()), arrays[6:], strict=True))
    return named(arrays[0], arrays[1:3], (arrays[3], arrays[4:6], dparameters))


def main():
    """Write inputs, exact in float32, and results of every case, each joined to one vector."""
    arrays = {}
    for key, case in CASES.items():
        inputs = case.inputs()
        arrays[f"{key}: inputs"] = joined(inputs).astype("float32")
        arrays[f"{key}: results"] = joined(torch_run(case, inputs))
    GOLDENS.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDENS, **arrays)


if __name__ == "__main__":
    main()
