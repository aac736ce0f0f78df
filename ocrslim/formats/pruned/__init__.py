"""Programs from elsewhere written back with fewer channels: the same file, edited."""
