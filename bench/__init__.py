"""The benchmark: sidecache and its peers on the same work, in one run, on one machine."""
