"""Models from files: the speed of an LSTM in an ONNX model, and of writing and reading files."""

import os
import tempfile
from functools import cache

import numpy as np

import numlstm
from numlstm.io import from_onnx, to_onnx

from .common import REPEAT, check_close, validated


@cache
def graph_of(shape):
    """A graph that agrees with the reference, and its inputs."""
    problem = validated("LSTM", shape)
    graph = from_onnx(to_onnx(problem.layer), backend="cpu")
    feeds = {"x": problem.x, "sequence_lens": np.full(len(problem.x), problem.x.shape[1], "int32")}
    check_close("graph", graph.run(feeds)[0], problem.forward())
    return graph, feeds


class OnnxModels:
    """Runs of a model from `to_onnx`: an LSTM between two transpositions."""

    params = (((1, 1, 16, 64), (50, 32, 8, 64), (100, 64, 64, 128)),)
    param_names = ("shape",)
    repeat = REPEAT

    def setup(self, shape):
        self.graph, self.feeds = graph_of(shape)

    def time_run(self, shape):
        self.graph.run(self.feeds)


class Files:
    """A model of a million parameters, written and read."""

    params = ("safetensors", "onnx")
    param_names = ("format",)
    repeat = REPEAT

    def setup(self, format):
        self.layer = numlstm.LSTM(256, 384, 1, random_state=0)
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, f"model.{format}")
        self.write, self.read = {"safetensors": (self.save, numlstm.load), "onnx": (self.export, from_onnx)}[format]
        self.write()
        layers = getattr(self.read(self.path), "layers", None) or [numlstm.load(self.path)]
        for name, expected in self.layer.parameters.items():
            check_close(name, layers[0].parameters[name], expected, tolerance=0.0)

    def teardown(self, format):
        self.folder.cleanup()

    def save(self):
        self.layer.save(self.path)

    def export(self):
        to_onnx(self.layer, self.path)

    def time_write(self, format):
        self.write()

    def time_read(self, format):
        self.read(self.path)
