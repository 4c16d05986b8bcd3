"""`python -m groundup` is the command line."""

from groundup.cli import main

if __name__ == "__main__":
    main()
