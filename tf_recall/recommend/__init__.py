"""The contract of recommenders, and three kinds: services, sparse channels, rankings."""
