"""Sacho's own side, on the public API only, with the settings that a user gets who sets none."""
