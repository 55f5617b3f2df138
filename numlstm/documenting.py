"""Docstrings that share sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

Documented = TypeVar("Documented")


def sharing(sections: Mapping[str, str]) -> Callable[[Documented], Documented]:
    """A decorator that replaces ``<<NAME>>`` in the docstrings of a class and its methods, or of a function.

    Parameters
    ----------
    sections : mapping of str to str
        The texts, by their names.
    """

    def documented(thing: Documented) -> Documented:
        members = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
        for member in members:
            if isinstance(getattr(member, "__doc__", None), str) and callable(member):
                for name, text in sections.items():
                    member.__doc__ = member.__doc__.replace(f"<<{name}>>", text.lstrip("\n "))
        return thing

    return documented
