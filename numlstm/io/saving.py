"""What models that can be saved have in common."""

from __future__ import annotations

import os


class Savable:
    """A model with a file format."""

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
        from .native import save

        save(self, path)
