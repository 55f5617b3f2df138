"""Products of matrices on register tiles: weights in the order that tiles read them, and their gradients."""
