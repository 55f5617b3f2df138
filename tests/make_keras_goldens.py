"""Write tests/data/keras_v3_*: models of Keras's in files, and what they predict. Run it where Keras 3 is installed."""

import os
import zipfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"
STEPS, TOKENS = 5, 6
MASK = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)


def models(keras):
    """Small models with all kinds of recurrent layers, by name."""
    layers, x = keras.layers, keras.Input((STEPS, 2), name="x")
    tokens = keras.Input((STEPS,), dtype="int32", name="tokens")
    sequential = keras.Sequential(
        [
            keras.Input((None, 2), name="x"),
            layers.LSTM(3, return_sequences=True, recurrent_activation="hard_sigmoid", activation="softsign"),
            layers.Dropout(0.5),
            layers.GRU(2, return_sequences=True, go_backwards=True, reset_after=False),
            layers.SimpleRNN(2, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    words = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(
        layers.Embedding(TOKENS, 3, mask_zero=True)(tokens)
    )
    y, *state = layers.LSTM(2, return_sequences=True, return_state=True, zero_output_for_mask=True)(words)
    mean = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(y))
    decoded = layers.LSTM(2, go_backwards=True)(layers.Masking()(x), initial_state=state)
    cells = layers.RNN([layers.GRUCell(2), layers.LSTMCell(3)])(words)
    joined = layers.Concatenate()([mean, decoded, cells])
    functional = keras.Model(
        [tokens, x], [layers.Dense(2, name="scores")(layers.BatchNormalization()(joined)), y[:, -1]]
    )
    return {"sequential": sequential, "functional": functional}


def inputs_of(name):
    """What goes in."""
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(*MASK.shape, 2)) * MASK[:, ::-1, None]).astype("float32")
    tokens = (rng.integers(1, TOKENS, MASK.shape) * MASK).astype("int32")
    return {"x": x} if name == "sequential" else {"tokens": tokens, "x": x}


def pack(path):
    """Deflate what Keras stores plainly: HDF5 leaves much room."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def main():
    """Write every model, with weights that are all different, its inputs, and what comes out."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    for name, model in models(keras).items():
        rng = np.random.default_rng(3)
        for weight in model.weights:
            value = rng.normal(0.0, 0.7, weight.shape)
            weight.assign(np.abs(value) + 0.1 if "variance" in weight.path else value)
        model.save(FOLDER / f"keras_v3_{name}.keras")
        pack(FOLDER / f"keras_v3_{name}.keras")
        inputs = inputs_of(name)
        results = model.predict([inputs[tensor.name] for tensor in model.inputs], verbose=0)
        results = results if isinstance(results, list) else [results]
        np.savez_compressed(
            FOLDER / f"keras_v3_{name}.npz", **inputs, **{f"result {k}": array for k, array in enumerate(results)}
        )


if __name__ == "__main__":
    main()
