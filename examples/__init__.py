"""Applications built on Sacho, as a user would write them."""
