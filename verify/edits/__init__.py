"""Slips as edits of a program: what people get wrong in a backward or forward pass, at one place or wherever it can be done."""
