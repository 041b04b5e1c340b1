"""What the evidence of all says for one site: partial pooling by declared similarity."""
