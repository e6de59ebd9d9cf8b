"""The storage port and its engines. They move encoded events and know no event class."""
