"""Three routes to every gradient, and where they disagree."""
