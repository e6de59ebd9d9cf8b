"""`python -m sacho` is the command line."""

from sacho.cli import main

if __name__ == "__main__":
    main()
