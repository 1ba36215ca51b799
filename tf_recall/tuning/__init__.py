"""The search for a better config: `tf-recall tune`."""
