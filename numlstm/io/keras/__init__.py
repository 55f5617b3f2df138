"""Weights and models of Keras, in and out; Keras itself is not needed."""
