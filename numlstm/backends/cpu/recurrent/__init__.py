"""A recurrent layer in one direction: its memory, its equations, and the way through all steps and back."""
