"""`python -m proxy`: the same command as `sidecache`."""

from proxy.cli import main

main()
