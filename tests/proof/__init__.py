"""Proofs: tests that try to break a promise, with counts of what was tried."""
