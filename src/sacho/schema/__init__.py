"""Between events and their stored form: the registry of types, and JSON encoding and decoding. Pure: no clock, no log."""

from sacho.schema.encoding import Encoding
from sacho.schema.registry import Registry, default_registry

__all__ = ["Encoding", "Registry", "default_registry"]
