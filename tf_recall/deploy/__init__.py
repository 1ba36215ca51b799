"""`tf-recall deploy`: files to run exports in containers, each on the server that can serve it.

command -> files (what is written) -> placement (which server, and why), compose, kubernetes
"""
