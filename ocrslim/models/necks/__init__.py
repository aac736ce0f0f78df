"""What fuses a backbone's maps: each takes `in_channels` and has `out_channels`."""
