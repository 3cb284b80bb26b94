"""`sonic completion`: shell completion of verbs and options."""

from __future__ import annotations

import argparse

from sonic_lib.cli.parser import VERBS, make_parser
from sonic_lib.config import Config
from sonic_lib.console import say

HELP = 'print completion for a shell: eval "$(sonic completion bash)"'
NEEDS_SPARK = False

_BASH = """\
_sonic() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs}"
    else
        case ${{COMP_WORDS[1]}}:${{COMP_WORDS[COMP_CWORD-1]}} in
{choices}
        esac
        if [ -z "$words" ]; then case ${{COMP_WORDS[1]}} in
{options}
        esac; fi
    fi
    # Everything else is completed as file names.
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _sonic sonic
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell")


def run(config: Config, args: argparse.Namespace) -> int:
    """Print the script."""
    _, parsers = make_parser(VERBS)
    text = (_ZSH if args.shell == "zsh" else "") + script(parsers)
    say(text.removesuffix("\n"), script=text)
    return 0


def script(parsers: dict[str, argparse.ArgumentParser]) -> str:
    """Return the bash script that completes verbs and options.

    Parameters
    ----------
    parsers : dict of str to ArgumentParser
        The parser of each verb.
    """
    options, choices = [], []
    for verb, parser in parsers.items():
        flags = [f for action in parser._actions for f in action.option_strings if len(f) > 2]
        words = [
            str(choice)
            for action in parser._actions
            if action.choices and not action.option_strings
            for choice in action.choices
        ]
        options.append(f'            {verb}) words="{" ".join([*words, *sorted(flags)])}" ;;')
        for action in parser._actions:
            if action.choices and action.option_strings:
                flag, given = action.option_strings[-1], " ".join(map(str, action.choices))
                choices.append(f'            {verb}:{flag}) words="{given}" ;;')
    return _BASH.format(
        verbs=" ".join(["--help", "--version", *parsers]),
        choices="\n".join(choices),
        options="\n".join(options),
    )
