"""The CUDA backend: Numba kernels on NVIDIA GPUs."""
