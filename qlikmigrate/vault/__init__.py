"""Many snapshots over time: a content-addressed store that writes everything once."""
