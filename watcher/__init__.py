"""A directory in, tasks out: the watcher, the command line and the one-machine mode."""
