"""Services and channels on disk: written whole or not at all, and loaded again."""
