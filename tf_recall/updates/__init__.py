"""The second day, and the hundredth: a new log is learned, checked and published; `update`."""
