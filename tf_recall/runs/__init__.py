"""A config from data to an export, and what the command line does with one."""
