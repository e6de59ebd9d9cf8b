"""For tests: given/when/then for deciders, and the conformance suite that every storage engine passes."""

from sacho.testing.given_when_then import Given, GivenFor, When, given_for

__all__ = ["Given", "GivenFor", "When", "given_for"]
