"""Long Short-Term Memory networks on Numba."""
