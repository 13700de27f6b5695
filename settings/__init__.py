"""What the user can say: typed settings, the base errors and the log format."""
