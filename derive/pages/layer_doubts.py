"""What may be meant otherwise on a page with layers: a later one at the same step, a symbol without its layer, a letter that may be one."""

from __future__ import annotations

from derive.pages.layered import Layered, Read
from derive.pages.names import Entry
from derive.pages.symbols import strip, take_apart
from derive.pages.tree import Bracket, Chain, Letter, Node


def refuse_later(layers: Layered, entry: Entry, value: int | None) -> None:
    """Raises PageError where a layer reads a later one at the same step."""
    left = next((read for read in layers.targets(entry) if read.index), None)
    if left is None or left.index is None or value is None:
        return
    own = layers.number(left.index, value)
    for node, read in layers.reads(entry.right):
        if read.index is None or read.one.symbol not in layers.stacked or read.one.time is None:
            continue
        later = read.index.of == "letter" and layers.number(read.index, value) > own
        if later and read.one.time >= (left.one.time or 0):
            a, b = layers.source.written(node.span), layers.source.written(entry.targets[0].span)
            what = f"`{a}` is a later layer than `{b}`, at the same step: expected this layer, or one below."
            raise layers.source.error(node.span, what, "Read it at the step before, or count the layers from below.")


def refuse_unlayered(layers: Layered) -> None:
    """Raises PageError where `h_t` stands beside `h_t^{(l)}`."""
    plain = {t.one.symbol for e in layers.entries if not e.is_function for t in layers.targets(e) if t.index is None}
    for entry in layers.entries:
        for node, read in layers.reads(entry.right) if not entry.is_function else ():
            if read.index is None and read.one.symbol in layers.stacked - plain and read.one.time is not None:
                written, count = layers.source.written(node.span), layers.indexed.count
                what = (
                    f"`{written}` stands without a layer, and {read.one.symbol.name} has one elsewhere: expected to know which."
                )
                raise layers.source.error(node.span, what, f"Write the layer; the top is `^{{({count})}}`.")


def refuse_letter(layers: Layered, node: Node, read: Read) -> None:
    """Raises PageError where the layer's letter stands in an index that isn't read as a layer: `W_l` beside `h^{(l)}`."""
    if layers.letter in layers.gates:
        return
    parts = take_apart(node)
    for script in (*parts.subs, *parts.sups) if parts else ():
        if ends_with(script, layers.letter):
            written = layers.source.written(node.span)
            what = f"`{written}` carries the layer's letter {layers.letter} where no layer is read: expected to know whether it is one."
            todo = f"Write `^{{({layers.letter})}}` for one for each layer; "
            todo += f'--let "layer={layers.letter}" reads {layers.letter} below as the layer, too.'
            raise layers.source.error(node.span, what, todo)


def read_names(layers: Layered) -> set[str]:
    found = [read for entry in layers.entries if not entry.is_function for _, read in layers.reads(entry.right)]
    return {read.one.symbol.name for read in found}


def unread(layers: Layered) -> Entry | None:
    """An equation without a layer that nothing reads and that reads nothing of a layer."""
    forward = [entry for entry in layers.entries if not entry.is_function]
    read = {entry.span: {one.one.symbol for _, one in layers.reads(entry.right)} for entry in forward}
    layered = set(layers.stacked)
    plain = [entry for entry in forward if layers.shift(entry) is None and not any(r.index for r in layers.targets(entry))]
    while more := [e for e in plain if read[e.span] & layered and not {t.one.symbol for t in layers.targets(e)} <= layered]:
        layered |= {target.one.symbol for entry in more for target in layers.targets(entry)}
    every = set().union(*read.values())
    for entry in plain:
        symbols = {target.one.symbol for target in layers.targets(entry)}
        timed = any(target.one.time is not None for target in layers.targets(entry))
        if timed and not symbols & (every | layered):
            return entry
    return None


def ends_with(script: Node, letter: str) -> bool:
    """Whether an index is the letter, or a run of letters that ends with it: `W_l`, `W_{hl}`."""
    inner = strip(script)
    last = inner.items[-1] if isinstance(inner, Chain) else inner.parts[-1] if isinstance(inner, Bracket) else inner
    return isinstance(last, Letter) and last.name == letter
