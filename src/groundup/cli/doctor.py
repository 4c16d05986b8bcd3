"""`groundup doctor`: what this machine has, and what each missing optional part would gain."""

from __future__ import annotations

import click


@click.command(short_help="Look at this machine and the optional parts.")
def command() -> None:
    """Show the machine, the versions, its measured speed, and what each optional part would gain."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from groundup.core.device import doctor, machine_info, measure_ceiling, pick_device

    console = Console(highlight=False)
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in machine_info().items():
        facts.add_row(name.replace("_", " "), str(value))
    device = pick_device("auto")
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        facts.add_row(
            f"{name} matrix products", f"{measure_ceiling(device, dtype) / 1e9:,.0f} GFLOP/s measured on {device}"
        )
    console.print(facts)
    console.print()
    parts = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("part", "here", "found", "what it gains"):
        parts.add_column(column)
    for check in doctor():
        parts.add_row(check.name, "[green]yes[/green]" if check.ok else "[yellow]no[/yellow]", check.found, check.gain)
    console.print(parts)
