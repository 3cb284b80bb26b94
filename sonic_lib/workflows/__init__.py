"""The work of each command, without a command line: no argparse, no printing."""
