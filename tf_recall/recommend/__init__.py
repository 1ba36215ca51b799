"""Whatever recommends: a service, rankings, counted channels; requests and explanations."""
