"""`python -m examples.conference`: the reference application at the command line."""

from __future__ import annotations

from examples.conference.commands import main

if __name__ == "__main__":
    main()
