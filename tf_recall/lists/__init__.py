"""Everybody's list, computed beforehand: written as Parquet, served from memory or from Redis."""
