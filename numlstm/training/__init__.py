"""Training: batches, networks on flat parameter vectors, optimizers, the fit loop."""
