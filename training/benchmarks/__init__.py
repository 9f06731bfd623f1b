"""Named benchmark protocols: pure scoring, runners and statistics."""
