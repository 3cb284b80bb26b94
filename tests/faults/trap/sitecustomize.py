"""Patch libsndfile with two bugs: one file makes it hang, another crashes it."""

from __future__ import annotations

import os

import soundfile

_open = soundfile.SoundFile.__init__


def _trapped(self, file, *args, **kwargs) -> None:
    head = bytearray(8)
    file.seek(0)
    file.readinto(head)
    file.seek(0)
    while head == b"HANG!!!!":
        pass
    if head == b"CRASH!!!":
        os.abort()
    _open(self, file, *args, **kwargs)


soundfile.SoundFile.__init__ = _trapped
