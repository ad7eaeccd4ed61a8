"""Where works come from. The only place that opens a network connection or a remote file system."""
