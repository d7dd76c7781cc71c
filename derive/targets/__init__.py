"""One folder a language that procedures are printed in."""
