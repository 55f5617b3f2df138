"""Layers by cell and shape: inference, and a step of training."""

from .common import CELLS, REPEAT, validated

SHAPES = ((1, 1, 16, 64), (50, 1, 16, 64), (50, 32, 8, 64), (100, 64, 64, 128), (100, 64, 128, 256))


class Layers:
    """A call of a layer, and a call with gradients, with one thread for each core."""

    params = (CELLS, SHAPES)
    param_names = ("cell", "(T, N, I, H)")
    repeat = REPEAT

    def setup(self, cell, shape):
        self.problem = validated(cell, shape)

    def time_forward(self, cell, shape):
        self.problem.forward()

    def time_training_step(self, cell, shape):
        self.problem.training_step()
