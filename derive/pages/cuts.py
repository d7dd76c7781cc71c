"""The sizes of vectors that are cut by ranges, `z[0:H]` and `z[H:2H]`: as long as their parts, or longer, as the ranges say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from derive.pages.core import Definition, Extent, Slice, every
from derive.pages.errors import PageError
from derive.pages.shapes import Shapes, Size


def settle_cuts(shapes: Shapes, definitions: Sequence[Definition]) -> None:
    """Give what is cut its size: that of its parts where they lie one behind the other from the first row on, else one that is longer.
    Raises PageError where a vector is known to be shorter than a range."""
    cuts = [node for one in definitions for node in every(one.body) if isinstance(node, Slice) and node.stop is not None]
    for node in cuts:
        (whole, _) = shapes.shape(node.body)
        size = shapes.expand(whole)
        if len(size) == 1 and size[0].startswith("?"):
            same = [one for one in cuts if shapes.expand(shapes.shape(one.body)[0]) == size]
            shapes.equal(size, length(shapes, same))
        elif Counter(node.stop) - Counter(size):
            raise too_short(shapes, node, size)


def length(shapes: Shapes, cuts: Sequence[Slice]) -> Size:
    """The end of the last range, and more where the ranges don't follow one another."""
    ranges = {(one.start, one.stop) for one in cuts if one.stop is not None}
    end: Size = ()
    while len(ranges) > 1 or end:
        following = next((stop for start, stop in ranges if start == end), None)
        if following is None:
            break
        end = following
    last = max((stop for _, stop in ranges), key=len)
    return last if end == last else tuple(sorted((*last, *shapes.fresh())))


def too_short(shapes: Shapes, node: Slice, size: Size) -> PageError:
    written = shapes.source.written(node.span)
    whole, limit = "+".join(size), "+".join(node.stop or ())
    what = f"`{written}` ends at {limit}, and its vector has size {whole}: expected a range within it."
    return shapes.source.error(node.span, what, f'Name its size with --dim, as in --dim "z={limit}".')


def refuse_sizes_of_nothing(shapes: Shapes, definitions: Sequence[Definition]) -> None:
    """Raises PageError where a name that stands for a size is the size of no symbol."""
    known = {one for sizes in shapes.shapes.values() for size in sizes for one in shapes.expand(size)}
    for node in (node for one in definitions for node in every(one.body) if isinstance(node, Extent)):
        if node.name not in known:
            written = shapes.source.written(node.span)
            what = f"`{written}` is the size of nothing: expected the size of a symbol of the page."
            raise shapes.source.error(node.span, what, f'Say of which: --dim "x={node.name}".')
