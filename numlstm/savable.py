"""The base class of models that can be saved and pickled."""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import Any

VERSION = "_numlstm_version"  # in the state of what is pickled


class VersionWarning(UserWarning):
    """Another version of numlstm, or an unknown version, pickled a model that was unpickled.

    The model may fail, or compute something else. Files of `numlstm.save` do not have this limit: later versions read
    them. For scikit-learn's own estimators there is `sklearn.exceptions.InconsistentVersionWarning`.

    Examples
    --------
    To refuse such models instead:

    >>> import pickle, warnings
    >>> import numlstm
    >>> data = pickle.dumps(numlstm.LSTM(3, 5))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", numlstm.VersionWarning)
    ...     pickle.loads(data)
    LSTM(3, 5)
    """


def version() -> str:
    """The version of the package."""
    return import_module(__name__.partition(".")[0]).__version__


class Savable:
    """A model with a file format; its pickles say which version of numlstm wrote them."""

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return state | {VERSION: version()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        written = state.pop(VERSION, None)
        if written != version():
            warnings.warn(_warning(type(self).__name__, written), VersionWarning, stacklevel=2)
        restore = getattr(super(), "__setstate__", self.__dict__.update)
        restore(state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file that `numlstm.load` reads.

        Parameters
        ----------
        path : str or path-like
            The file to write. A file that is there is replaced at once: readers find the old file or the new one, never
            a part of it, and after an error the old file is there.

        Raises
        ------
        ValueError
            If a value cannot be written without code, such as a `random_state` that is neither an int nor None, or
            labels of other types than numbers and texts; or if `load` would refuse the file, as with NaN among the
            weights. Nothing is written then.
        TypeError
            If the model is of a subclass, which a file cannot hold.
        OSError
            If the file cannot be written.

        Warns
        -----
        UserWarning
            About everything that the file does not hold: a `callback`, and attributes that are not the model's own.

        Notes
        -----
        The file is in the format safetensors: parameters by their names, and a JSON text for the rest. It has no code
        and no pickle. It holds all that was learnt, and the state from which `partial_fit` continues.

        Examples
        --------
        >>> import os, tempfile
        >>> import numlstm
        >>> layer = numlstm.LSTM(3, 5, random_state=0)
        >>> path = os.path.join(tempfile.mkdtemp(), "layer.safetensors")
        >>> layer.save(path)
        >>> numlstm.load(path)
        LSTM(3, 5)
        """
        from .io.native.models import write

        write(self, path)


def _warning(kind: str, written: str | None) -> str:
    """The warning for a pickle of another or an unknown version."""
    source = "a version of numlstm that it does not name" if written is None else f"numlstm {written}"
    return (
        f"this {kind} was pickled by {source}, and this is numlstm {version()}: it may fail, or compute something "
        "else. Fit it again, or load it with the version that pickled it and write it to a file with save()."
    )
