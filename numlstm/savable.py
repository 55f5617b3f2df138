"""What models that can be saved and pickled have in common."""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import Any

VERSION = "_numlstm_version"  # in the state of what is pickled


class VersionWarning(UserWarning):
    """A model was unpickled that another version of numlstm had pickled, or one that the pickle does not name.

    It may fail, or compute something else. Files that `numlstm.save` writes have no such bounds: later versions read
    them. It is what `sklearn.exceptions.InconsistentVersionWarning` is for scikit-learn's own estimators.

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
    """The package's."""
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
        """Write everything to a file that `numlstm.load` reads.

        Parameters
        ----------
        path : str or path-like
            Where to; what is there is replaced, all at once: whoever reads finds the old file or the new one, never a
            part of it, and after an error the old file is as it was.

        Raises
        ------
        ValueError
            If something cannot be written without code: a `random_state` that is neither an int nor None, labels of
            odd types; or if a file with it would be refused by `load`, as with NaN among the weights. Nothing is
            written then.
        TypeError
            If it is of a subclass, which a file cannot hold.
        OSError
            If the file cannot be written.

        Warns
        -----
        UserWarning
            For what is left out: a `callback` and attributes that others have set.

        Notes
        -----
        The file is in the format safetensors: parameters by their names, and a JSON text for the rest; no code, and no
        pickle. All that has been learnt is in it, and what `partial_fit` goes on from.

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
    """What to say of a pickle that another version has written, or one that does not say which."""
    source = "a version of numlstm that it does not name" if written is None else f"numlstm {written}"
    return (
        f"this {kind} was pickled by {source}, and this is numlstm {version()}: it may fail, or compute something "
        "else. Fit it again, or load it with the version that pickled it and write it to a file with save()."
    )
