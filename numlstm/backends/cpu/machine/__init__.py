"""The processor: its registers, memory and threads, and machine code for it."""
