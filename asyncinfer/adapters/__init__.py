"""Thin layers by which others reach a manager; each needs its extra, and nothing in the core imports them."""
