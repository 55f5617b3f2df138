"""Training: batches, networks whose parameters are one flat vector, optimizers, and the loop over epochs."""
