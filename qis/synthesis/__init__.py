"""Synthesis: what the evidence of many sites says together."""
