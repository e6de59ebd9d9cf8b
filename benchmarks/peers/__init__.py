"""The sides that Sacho is compared with, one module each, every one as its users would write it for speed."""
