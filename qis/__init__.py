"""Outcome routing: signed 512-byte outcomes, peer to peer, by similarity, synthesised locally."""
