"""Pairs in files: given in any order, they come back in the order of their places, each once."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from charkha.features.sorted_pairs import SortedPairs


@given(st.dictionaries(st.binary(max_size=3), st.binary(max_size=3)), st.integers(1, 9), st.integers(1, 9))
def test_they_come_in_the_order_of_places(pairs: dict[bytes, bytes], count: int, at_once: int) -> None:
    with TemporaryDirectory() as folder:
        files, given_pairs = SortedPairs(Path(folder) / "pairs", count), list(pairs.items())
        for low in range(0, len(given_pairs), at_once):
            files.add(given_pairs[low : low + at_once])
        assert [pair for some in files.read() for pair in some] == sorted(given_pairs)
        assert not list(Path(folder).glob("*/*"))


def test_the_first_pairs_say_how_long_the_files_are(tmp_path: Path) -> None:
    files = SortedPairs(tmp_path / "pairs", 4)
    places = [f"{number * 7919 % 1000:03d}".encode() for number in range(1000)]
    files.add([])
    for low in range(0, 1000, 250):
        files.add([(place, b"") for place in places[low : low + 250]])
    parts = list(files.read())
    assert all(200 < len(part) < 300 for part in parts)
    assert all(before[-1] < after[0] for before, after in pairwise(parts))
