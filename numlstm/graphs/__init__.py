"""Graphs of operators, as other libraries' models are: what runs them, and the operators."""
