"""SortedChunks answers as a plain sorted list does, whatever is done to it in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncinfer_memory._sorted import SortedChunks

numbers = st.integers(0, 5_000)


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers, unique=True, max_size=3_000), st.data())
def test_it_answers_as_a_sorted_list(entries: list[int], data: st.DataObject) -> None:
    chunks: SortedChunks[int] = SortedChunks()
    for entry in entries:
        chunks.add(entry)
    gone = set(data.draw(st.lists(st.sampled_from(entries), unique=True))) if entries else set[int]()
    for entry in gone:
        chunks.remove(entry)
    model = sorted(set(entries) - gone)
    probe = data.draw(numbers)

    assert list(chunks) == model
    assert chunks.first == (model[0] if model else None)
    assert (len(chunks), bool(chunks)) == (len(model), bool(model))
    assert chunks.rank(probe) == sum(entry < probe for entry in model)
    assert list(chunks.descending()) == model[::-1]
    assert list(chunks.descending(probe)) == [entry for entry in reversed(model) if entry < probe]
    assert list(chunks.ascending(probe)) == [entry for entry in model if entry >= probe]


def test_thousands_added_in_any_order_split_and_empty_again() -> None:
    chunks: SortedChunks[int] = SortedChunks()
    for entry in [*range(0, 20_000, 2), *range(19_999, 0, -2)]:
        chunks.add(entry)

    assert list(chunks) == list(range(20_000))

    for entry in [*range(0, 20_000, 3), *range(1, 20_000, 3), *range(2, 20_000, 3)]:
        chunks.remove(entry)

    assert not chunks
    assert list(chunks) == []
