"""Real servers, started from wheels for tests and benchmarks. No part of what users install."""
