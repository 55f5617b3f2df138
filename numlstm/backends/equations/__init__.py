"""Equations of losses, optimizers and pooling for single numbers, in plain Python; each engine compiles them."""
