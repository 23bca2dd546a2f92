"""One module for each server that is measured: its configuration and how it starts."""
