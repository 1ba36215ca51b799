"""Precomputed lists of all users or items: written as Parquet, read from memory or from Redis."""
