"""Counted channels, the metrics and similarities that they go by, and the merge of several."""
