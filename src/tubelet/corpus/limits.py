"""Limits of the work on videos in shards; of their own, because the command line shows them and starts fast."""

VIDEO_SECONDS = 600.0
"""A video whose decoding takes longer is given up."""
SHARD_VIDEOS = 256
"""Videos of one shard."""
