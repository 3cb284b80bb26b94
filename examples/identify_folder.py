"""Index a music folder, identify a folder of clips, and print what was found where.

python examples/identify_folder.py ~/Music ~/clips
"""

import sys

import sonic_lib

music, clips = sys.argv[1:3]
lake = sonic_lib.open_warehouse("sonic-warehouse", show_progress=True)
counts = lake.index(music).counts
print(f"{counts['songs']:.0f} new songs, {counts['rejected']:.0f} files rejected")

answers = lake.identify(clips).to_pandas()
for answer in answers[answers["rank"] == 1].itertuples():
    if answer.accepted:
        name = f"{answer.title} by {answer.artist}" if answer.title else answer.song
        print(f"{answer.clip}: {name}, from {max(answer.offset_s, 0):.1f} s")
    else:
        print(f"{answer.clip}: {answer.error or 'unknown'}")
