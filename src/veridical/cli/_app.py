"""The program: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import importlib
import sys

import click

from veridical import __version__
from veridical.cli._exit import ExitCode, asks_for_json, code_for, silence_stdout, tell
from veridical.errors import ErrorInfo, VeridicalError

# Each command: the module that holds it under its own name, and its line in the list of commands.
_COMMANDS = {
    "detect": ("detect", "Say of each picture whether it was probably made by AI."),
    "detectors": ("detectors", "Every detector: what it is, its paper, what it needs."),
    "models": ("models", "List, describe and verify models."),
    "index": ("index", "Make and ask indexes of known pictures."),
    "doctor": ("doctor", "Versions, extras, and a self-test."),
    "completion": ("completion", "Print the script that completes commands in a shell."),
    "data": ("data", "Labelled sets: what can be read, where to get it, what is in it."),
    "audit": ("audit", "What gives a set's labels away, and what it holds twice."),
    "train": ("training", "Train to the end; the same command again goes on where it stopped."),
    "export": ("training", "Write the bundle of a checkpoint, calibrated and measured."),
    "predict": ("predict", "Judge every sample of a labelled set and store the scores."),
    "bench": ("bench", "Tables from stored predictions, every number with its interval."),
    "network": ("network", "A subnet: on this machine, or on Bittensor."),
    "miner": ("miner", "Answer the challenges of a subnet's validators."),
    "proxy": ("proxy", "Ask the best miners of a subnet for clients of yours."),
    "validator": ("validator", "Challenge the miners of a subnet and set weights."),
    "generate": ("generate", "Make fakes of what real pictures show, by text-to-image models."),
    "robustness": ("robustness", "How much each perturbation costs each detector, from stored predictions."),
    "calibrate": ("calibrate", "Fit probabilities and thresholds on one set, measure them on another."),
    "fuse": ("fuse", "Combine detectors from stored predictions, calibrated and measured."),
    "sweep": ("sweep", "Every metric at thresholds from 0.1 to 0.9, as a table and a plot."),
    "leave-one-out": ("leave_one_out", "An experiment without each generator, judged by what was left out."),
    "difficulty": ("difficulty", "How fast an experiment learns a set: validation inside the first epoch."),
    "transfer": ("transfer", "Trained on one set, tested on others: by set, generator and content."),
}


class _Commands(click.Group):
    """Commands whose modules are imported when they are used, so that each starts with what it needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"veridical.cli.{_COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="veridical %(version)s")
def veridical() -> None:
    """Was this picture made by AI? Judged on this machine, with an honest 'unsure'.

    Exit codes: 0 judged; 1 found (with --fail-on); 2 some files failed; 3 usage; 4 model missing or
    invalid; 130 interrupted.
    """


def run(argv: list[str]) -> int:
    """Run one command; every error that we know becomes words on stderr and an exit code."""
    try:
        # The exit code of a command that ended through `Context.exit`; None of one that just returned.
        code = veridical.main(argv, prog_name="veridical", standalone_mode=False)
    except click.ClickException as error:
        _tell_usage(error, as_json=asks_for_json(argv))
        return ExitCode.USAGE
    except VeridicalError as error:
        tell(error.info, as_json=asks_for_json(argv))
        return code_for(error)
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return ExitCode.PIPE_CLOSED
    return int(code or 0)


def _tell_usage(error: click.ClickException, *, as_json: bool) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "veridical"
    message = error.format_message()
    tell(ErrorInfo(code="usage", message=message, hint=f"Try '{command} --help'."), as_json=as_json)
