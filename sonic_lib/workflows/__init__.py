"""What each job does, without a command line: no argparse, no printing."""
