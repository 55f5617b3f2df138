"""Some tests need arrays of a device, which numba-cuda's simulator has: ``NUMBA_ENABLE_CUDASIM=1``."""

from numba import config

collect_ignore = [] if config.ENABLE_CUDASIM else ["test_device_arrays.py"]
