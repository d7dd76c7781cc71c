"""`--list`: every cell and variant with the document and equation that it comes from, and how the document's symbols map to ours."""

from __future__ import annotations

import textwrap

from derive.cells.registry import NETWORK, Choice, Count, Declaration, Named, variants

DOCUMENTS = {
    "000": "Ramachandran, Deep Learning for Language Modelling (LSTM and GRU slides)",
    "001": "Rekab-saz, JKU Linz 344.063, Gated RNNs: LSTM & GRU",
    "002": "CMU 11-785, Recurrent Networks: Modelling Language",
    "003": "Singh, Brown CSCI 1470/2470, LSTM and GRU",
    "004": "Stanford CS224n, Lecture Notes V: Language Models, RNN, GRU and LSTM",
}


def listing(declared: dict[str, Declaration]) -> str:
    """The list as text."""
    out = ["Documents", *[f"  {number}  {title}" for number, title in DOCUMENTS.items()], ""]
    for declaration in declared.values():
        out += [declaration.name, f"  {declaration.summary}", "  options"]
        for option in declaration.options:
            values = f" {', '.join(option.values)} ({option.default})" if isinstance(option, Choice) else ""
            out += wrapped(f"    --{option.name}{values}", option.help)
        out.append("  as printed in")
        for source in declaration.sources:
            out += wrapped(f"    {declaration.name} {source.options}".rstrip(), f"{source.place}: {source.mapping}")
        every = [cell.command for cell in variants(declaration)]
        out += [f"  all {len(every)} variants", *[f"    {command}" for command in every], ""]
    out.append("every cell, of a page or a Python file too, as a network")
    for one in NETWORK:
        value = " NAME" if isinstance(one, Named) else f" 1 to {one.most} (1)" if isinstance(one, Count) else ""
        out += wrapped(f"  --{one.name}{value}", one.help)
    out.append("")
    return "\n".join(out)


def wrapped(left: str, right: str) -> list[str]:
    """Two columns, the right one wrapped under itself."""
    column = 44
    lines = textwrap.wrap(right, 100 - column)
    if len(left) + 2 > column:
        return [left, *[" " * column + line for line in lines]]
    return [left.ljust(column) + lines[0], *[" " * column + line for line in lines[1:]]]
