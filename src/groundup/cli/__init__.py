"""The command line: one small file a command; the folder list is the command list.

`pretrain.py` is `groundup pretrain`, `tokenizer_train.py` is `groundup tokenizer train`; only the names in `HYPHENATED`
are one word, `compare_architectures.py` being `groundup compare-architectures`. Each file defines `command`:
it parses, calls one function of the package, prints where things are and what to run next. A file is imported
only when its command is used, and commands import the package's heavy rooms inside their function, so `groundup --help`
answers at once.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import click

from groundup.core.errors import GroundupError, nearest

HYPHENATED = ("compare_architectures",)


def command_files() -> dict[tuple[str, ...], str]:
    """Command words -> module name, from the files of this folder: `('tokenizer', 'train')` -> `tokenizer_train`."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return {(name.replace("_", "-"),) if name in HYPHENATED else tuple(name.split("_", 1)): name for name in names}


class CommandFolder(click.Group):
    """A group whose commands are the files of this folder that begin with its words."""

    def __init__(self, words: tuple[str, ...] = (), **settings) -> None:
        super().__init__(name=words[-1] if words else "groundup", no_args_is_help=True, **settings)
        self.words = words

    def list_commands(self, ctx: click.Context) -> list[str]:
        depth = len(self.words)
        return sorted({words[depth] for words in command_files() if words[:depth] == self.words and len(words) > depth})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        words = (*self.words, cmd_name)
        files = command_files()
        if words in files:
            return importlib.import_module(f"{__name__}.{files[words]}").command
        if any(other[: len(words)] == words for other in files):
            members = ", ".join(other[len(words)] for other in sorted(files) if other[: len(words)] == words)
            return CommandFolder(words, help=f"Commands for {cmd_name}: {members}.")
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]):
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            guess = nearest(args[0], self.list_commands(ctx)) if args else None
            hint = f" Did you mean {guess!r}?" if guess else ""
            raise click.UsageError(error.message + hint, ctx=error.ctx) from None


cli = CommandFolder(
    help="Groundup: language models from the ground up. From your own text to your own model, every step verified.\n\n"
    "Start with:  groundup quickstart"
)
cli = click.version_option(package_name="groundup", prog_name="groundup")(cli)


def main(args: list[str] | None = None) -> int:
    """Run the command line; errors for people end with exit code 2 and no traceback."""
    try:
        code = cli.main(args=args, prog_name="groundup", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except GroundupError as error:
        click.echo(f"error: {error}", err=True)
        code = 2
    except (KeyboardInterrupt, click.Abort):  # click makes the second of the first
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:  # the reader of our output (head, less) went away: not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        if error.filename is None:  # not about a place that a person named
            raise
        click.echo(f"error: {error.filename}: {error.strerror}; look at this place, or choose another", err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
