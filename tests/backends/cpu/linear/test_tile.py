"""Heights of tiles: they add up to all rows, and none is a single row where two tiles of two rows would do."""

import pytest

from numlstm.backends.cpu.linear.tile import ROWS_TOGETHER, height_of
from numlstm.backends.cpu.machine.target import target


def heights(tallest, rows):
    """Heights of the tiles for so many rows."""
    taken = []
    while sum(taken) < rows:
        taken.append(height_of.py_func(tallest, rows - sum(taken), sum(taken)))
    return taken


@pytest.mark.parametrize(("rows", "expected"), [(8, [6, 2]), (14, [6, 4, 4]), (10, [6, 4]), (32, [6, 6, 6, 6, 4, 4])])
def test_eight_rows_are_two_tiles_of_four_once_their_panel_is_near(rows, expected):
    assert heights(6, rows) == expected


@pytest.mark.parametrize("tallest", [1, 2, 3, 6, 12, 24])
def test_heights_add_up(tallest):
    compiled = {tallest, *(height for height in (4, 2, 1) if height < tallest)}
    for rows in range(1, 60):
        taken = heights(tallest, rows)
        assert sum(taken) == rows
        assert set(taken) <= compiled
        assert len(taken) <= rows // tallest + tallest // 4 + 2


@pytest.mark.parametrize("tallest", [target().tile_rows(vectors)[0] for vectors in (1, 2, 4)] + [3, 6])
def test_rows_that_threads_share_need_no_tile_of_one_row(tallest):
    for rows in range(ROWS_TOGETHER, 60, ROWS_TOGETHER):
        if tallest == 3 and rows % 3 == 1:
            assert heights(3, rows)[-2:] == [2, 2]
        if tallest % 2 == 0:
            assert 1 not in heights(tallest, rows)
