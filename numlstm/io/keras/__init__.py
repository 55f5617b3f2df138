"""Weights and models of Keras 3, in and out; Keras itself is not needed."""
