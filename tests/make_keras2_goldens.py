"""Write tests/data/keras_v2_*: models of Keras 2 in .h5 files, and what they predict. Run it with TensorFlow 2.15."""

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"
STEPS, TOKENS = 5, 6
MASK = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)


def models(keras):
    """Small models with all that Keras 2 describes or computes in its own way, by name."""
    layers = keras.layers
    sequential = keras.Sequential(
        [
            layers.LSTM(
                3, return_sequences=True, recurrent_activation="hard_sigmoid", input_shape=(None, 2), name="lstm"
            ),
            layers.LeakyReLU(0.1),
            layers.Dropout(0.5),
            layers.GRU(2, return_sequences=True, go_backwards=True, reset_after=False),
            layers.BatchNormalization(),
            layers.SimpleRNN(2),
            layers.Dense(3, activation="hard_sigmoid"),
        ]
    )
    x, tokens = keras.Input((STEPS, 2), name="x"), keras.Input((STEPS,), dtype="int32", name="tokens")
    words = layers.Embedding(TOKENS, 2, mask_zero=True)(tokens)
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True, return_state=True), merge_mode="sum")
    y, *state = both(words)
    masked = layers.TimeDistributed(layers.Dense(2))(layers.Masking()(x))
    product = layers.Multiply()([y, masked])
    decoded = layers.Bidirectional(layers.LSTM(2))(product, initial_state=state)
    cells = layers.RNN([layers.GRUCell(2), layers.LSTMCell(3)])(layers.Rescaling(0.5)(product))
    first = keras.Input((3,))
    head = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.BatchNormalization(), layers.Dense(2)])
    head.layers[0].trainable = False  # so that its arrays come late in the file
    inner = keras.Model(first, [head(first), head(layers.LayerNormalization()(first))], name="inner")
    ends = 2.0 - y[:, -1] * x[:, 0] / (y[..., ::-1] + 4)[:, 1] + 1.5
    joined = layers.Concatenate()([decoded, inner(cells)[1], ends])
    functional = keras.Model([tokens, x], [joined, *inner(-cells)])
    return {"sequential": sequential, "functional": functional}


def inputs_of(model):
    """What goes in."""
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(*MASK.shape, 2)) * MASK[:, ::-1, None]).astype("float32")
    tokens = (rng.integers(1, TOKENS, MASK.shape) * MASK).astype("int32")
    return {name: tokens if name == "tokens" else x for name in model.input_names}


def pack(name, write):
    """A file of the data that is written to a path, packed: HDF5 leaves much room."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        (FOLDER / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def main():
    """Write every model, with weights that are all different, its inputs, and what comes out."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from tensorflow import keras

    for name, model in models(keras).items():
        rng = np.random.default_rng(3)
        for weight in model.weights:
            value = rng.normal(0.0, 0.7, weight.shape)
            weight.assign(np.abs(value) + 0.1 if "variance" in weight.name else value)
        pack(f"keras_v2_{name}.h5", model.save)
        inputs = inputs_of(model)
        results = model.predict([*inputs.values()], verbose=0)
        results = results if isinstance(results, list) else [results]
        np.savez_compressed(
            FOLDER / f"keras_v2_{name}.npz", **inputs, **{f"result {k}": array for k, array in enumerate(results)}
        )
    pack("keras_v2_weights.h5", model.save_weights)  # of the last one
    pack("keras_v2_weights.json", lambda path: path.write_text(model.to_json()))


if __name__ == "__main__":
    main()
