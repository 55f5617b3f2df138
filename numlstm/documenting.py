"""Texts that several docstrings share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

Documented = TypeVar("Documented")


def sharing(sections: Mapping[str, str]) -> Callable[[Documented], Documented]:
    """A decorator that replaces each ``<<NAME>>`` in the docstrings of a class and its methods, or of a function.

    Parameters
    ----------
    sections : mapping of str to str
        The text for each name.
    """

    def documented(target: Documented) -> Documented:
        members = [target, *vars(target).values()] if isinstance(target, type) else [target]
        for member in members:
            if isinstance(getattr(member, "__doc__", None), str) and callable(member):
                for name, text in sections.items():
                    member.__doc__ = member.__doc__.replace(f"<<{name}>>", text.lstrip("\n "))
        return target

    return documented
