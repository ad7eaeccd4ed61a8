"""Windows of a source and their raw bytes on local disk, before anything looks into them."""
