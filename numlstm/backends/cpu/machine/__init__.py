"""What the processor is: its registers, memory and threads, and machine code for it."""
