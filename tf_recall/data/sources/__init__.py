"""Where interactions come from: files, public data sets, planted worlds."""
