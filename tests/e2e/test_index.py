"""The index over several runs: the tables are right after any history."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from sonic_lib.audio import local_files
from sonic_lib.audio.tags import read_tags
from sonic_lib.cli.main import main
from sonic_lib.config import Config, FingerprintConfig
from sonic_lib.index import commit
from sonic_lib.schemas import (
    FEATURE_FILES,
    FEATURES,
    FINGERPRINTS,
    PREDICTIONS,
    RECOMMENDATIONS,
    RUNS,
    SONG_FILES,
    SONGS,
    Table,
)
from sonic_lib.storage import creation, tables, writes
from sonic_lib.workflows.idle_indexing import index_if_unchanged
from sonic_lib.workflows.indexing import index_songs
from tests.e2e.conftest import contents, versions


def index(folders: list[Path], warehouse: str, *options: str) -> None:
    assert main(["index", *map(str, folders), "--warehouse", warehouse, *options]) == 0


@pytest.fixture(scope="module")
def place(collection, new_tables, tmp_path_factory) -> Path:
    """Two folders, `music` and `kept`, with two songs each; indexes of the first and of both."""
    place = tmp_path_factory.mktemp("place")
    for i, path in enumerate(list(collection.samples)[:4]):
        folder = place / "kept" / "AB"[i // 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(collection.folder / path, folder)
    for folder, name in (("A", "of A"), ("B", "of both")):
        shutil.copytree(place / "kept" / folder, place / "music" / folder)
        index([place / "music"], shutil.copytree(new_tables, place / name).as_posix())
    return place


@pytest.fixture
def music(place) -> Path:
    """The two folders, which a test may change."""
    shutil.rmtree(place / "music")
    return shutil.copytree(place / "kept", place / "music")


@pytest.fixture
def lake(place, tmp_path) -> str:
    """A copy of the index of both folders, which a test may change."""
    return shutil.copytree(place / "of both", tmp_path / "lake").as_posix()


def test_every_good_song_is_stored_once(spark, collection, indexed):
    warehouse, printed = indexed
    songs = tables.read(spark, warehouse, SONGS)
    files = tables.read(spark, warehouse, SONG_FILES)

    n_songs = len(collection.samples)
    assert songs.count() == n_songs
    assert f"added   {n_songs} songs" in printed
    assert f"1 duplicate, {len(collection.rejected)} rejected" in printed
    by_status = {r.status: r["count"] for r in files.groupBy("status").count().collect()}
    assert by_status == {
        "indexed": n_songs,
        "duplicate": 1,
        "rejected": len(collection.rejected),
    }
    holders = files.filter("song_id IS NOT NULL").groupBy("song_id").count()
    assert sorted(r["count"] for r in holders.collect()) == [1] * (n_songs - 1) + [2]


def test_fingerprint_counts_match_songs(spark, indexed):
    warehouse, _ = indexed
    fingerprints = tables.read(spark, warehouse, FINGERPRINTS)
    counted = {r.song_id: r["count"] for r in fingerprints.groupBy("song_id").count().collect()}

    stored = tables.read(spark, warehouse, SONGS).collect()
    assert counted == {song.song_id: song.n_fingerprints for song in stored}
    assert fingerprints.count() == fingerprints.distinct().count()
    assert fingerprints.filter("hash_prefix <> shiftright(hash, 36)").isEmpty()
    assert fingerprints.select("hash_prefix").distinct().count() == 16


def test_fingerprints_are_few_sorted_files(spark, indexed):
    warehouse, _ = indexed
    folders = sorted(Path(warehouse, "fingerprints").glob("hash_prefix=*"))
    assert len(folders) == 16
    for folder in folders:
        (file,) = folder.glob("*.parquet")
        rows = spark.read.parquet(str(file)).select("hash", "song_id", "offset_frames").collect()
        assert rows == sorted(rows)


def test_titles_come_from_tags_and_file_names(spark, collection, indexed):
    warehouse, _ = indexed
    titles = {r.title for r in tables.read(spark, warehouse, SONGS).collect()}
    assert titles == {Path(path).stem for path in collection.samples}


def test_rejected_files_have_stage_and_reason(spark, collection, indexed):
    warehouse, _ = indexed
    rejected = tables.read(spark, warehouse, SONG_FILES).filter("status = 'rejected'").collect()
    stages = {str(Path(r.path).relative_to(collection.folder)): r.stage for r in rejected}
    assert stages == collection.rejected
    assert all(r.error and r.song_id is None for r in rejected)


def test_second_run_reads_no_audio_and_writes_nothing(spark, collection, indexed, capsys):
    warehouse, _ = indexed
    before = versions(warehouse)
    song = collection.folder / next(iter(collection.samples))
    sound, status = song.read_bytes(), song.stat()
    try:
        song.write_bytes(bytes(len(sound)))  # anyone who reads it finds no audio
        os.utime(song, ns=(status.st_atime_ns, status.st_mtime_ns))
        index([collection.folder], warehouse)
    finally:
        song.write_bytes(sound)
        os.utime(song, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert versions(warehouse) == before
    n_files = len(collection.samples) + 1 + len(collection.rejected)
    assert f"Nothing new: {n_files} files are already in" in capsys.readouterr().out


@pytest.fixture
def idle(indexed, tmp_path) -> Config:
    """Settings of a copy of the collection's index."""
    pytest.importorskip("deltalake")
    lake = shutil.copytree(indexed[0], tmp_path / "lake")
    return Config().model_copy(update={"warehouse": lake.as_posix()})


@pytest.mark.parametrize("with_links", [False, True])
def test_idle_run_is_the_same_without_spark(spark, collection, idle, tmp_path, with_links):
    paths = [str(collection.folder)]
    if with_links:
        paths.append(str(tmp_path / "linked"))
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "again").symlink_to(collection.folder)
    found = index_if_unchanged(idle, paths)
    expected = index_songs(spark, idle, paths)
    for run in (found, expected):
        assert run.counts.pop("seconds") > 0
        run.counts.pop("passed_over")
    assert found.counts == expected.counts
    assert (found.remarks, found.table_bytes) == ([], expected.table_bytes)
    if not with_links:  # Spark's tasks do not know which folders others have counted
        assert found.passed_over == expected.passed_over
    rows = tables.read(spark, idle.warehouse, RUNS).filter("job = 'index'").orderBy("started_at")
    first, second = rows.select("job", "status", "config").collect()[-2:]
    assert first == second


@pytest.mark.parametrize("case", ["new", "touched", "rejected", "parameters", "no runs", "nothing"])
def test_run_with_something_to_do_needs_spark(collection, idle, tmp_path, monkeypatch, case):
    folder = shutil.copytree(collection.folder / "copies", tmp_path / "music")
    paths = [collection.folder / "copies"]
    options = {}
    if case == "new":
        paths.append(folder)
    elif case == "touched":
        (file,) = paths[0].iterdir()
        monkeypatch.setattr(local_files, "_FIRST_S", file.stat().st_mtime + 1)  # as if later
    elif case == "rejected":
        paths, options = [collection.folder / "bad"], {"retry_rejected": True}
    elif case == "parameters":
        idle = idle.model_copy(update={"fingerprint": FingerprintConfig(densities_per_s=(10,))})
    elif case == "no runs":
        shutil.rmtree(Path(idle.warehouse, RUNS.name))
    else:
        (tmp_path / "empty").mkdir()
        paths = [tmp_path / "empty"]
    before = versions(idle.warehouse)
    assert index_if_unchanged(idle, list(map(str, paths)), **options) is None
    assert versions(idle.warehouse) == before


def test_strict_reports_rejected_files(collection, warehouse, capsys):
    bad = str(collection.folder / "bad")
    assert main(["index", bad, "--warehouse", warehouse, "--strict"]) == 1
    said = capsys.readouterr().out
    assert f"rejected  {bad}/empty.wav: the file is empty (0 bytes)" in said
    assert said.count("  rejected  ") == 5
    assert "All of them: sonic sql" in said


def test_renamed_file_keeps_its_song(spark, music, lake):
    old = next(path for path in sorted(music.rglob("*")) if path.is_file())
    new = old.with_name("another name" + old.suffix)
    old.rename(new)
    index([music], lake)
    files = {row.path: row for row in tables.read(spark, lake, SONG_FILES).collect()}
    assert str(old) not in files
    assert files[str(new)].status == "indexed"
    songs = {row.song_id: row for row in tables.read(spark, lake, SONGS).collect()}
    with new.open("rb") as file:  # tags take precedence over the file name
        assert songs[files[str(new)].song_id].title == read_tags(file, name=str(new)).title


def test_two_folders_in_sequence_or_together_give_the_same_index(spark, music, tmp_path):
    apart, together = str(tmp_path / "apart"), str(tmp_path / "together")
    index([music / "A"], apart)
    index([music / "B"], apart)
    index([music / "A", music / "B"], together)
    assert contents(spark, apart) == contents(spark, together)


def test_changed_file_replaces_its_song(spark, collection, music, lake, tmp_path):
    fresh = str(tmp_path / "fresh")
    old = sorted((music / "A").iterdir())[0]
    other = list(collection.samples)[4]
    shutil.copy(collection.folder / other, old)
    os.utime(old, (1e9, 1e9))
    index([music], lake)
    index([music], fresh)
    assert contents(spark, lake) == contents(spark, fresh)


def test_damaged_file_loses_its_song(spark, music, lake):
    broken = sorted((music / "A").iterdir())[0]
    broken.write_bytes(b"no music any more")
    index([music], lake)
    assert tables.read(spark, lake, SONGS).count() == 3
    (row,) = tables.read(spark, lake, SONG_FILES).filter("status = 'rejected'").collect()
    assert row.path == str(broken)


def test_prune_removes_missing_songs_only(spark, place, music, lake):
    shutil.rmtree(music / "B")
    index([music], lake)
    assert tables.read(spark, lake, SONGS).count() == 4
    index([music], lake, "--prune")
    assert contents(spark, lake) == contents(spark, str(place / "of A"))


def test_copy_stands_for_a_song_whose_first_file_is_gone(spark, music, lake):
    deleted, overwritten = sorted((music / "A").iterdir())
    files = tables.read(spark, lake, SONG_FILES)
    rows = {Path(row.path): row for row in files.collect()}
    copies = {
        file: shutil.copy2(file, music / "B" / f"copy of {file.name}")
        for file in (deleted, overwritten)
    }
    # As an earlier run leaves them; and one song loses its tags.
    duplicates = [
        rows[file].asDict() | {"path": str(copy), "status": "duplicate"}
        for file, copy in copies.items()
    ]
    writes.append(spark.createDataFrame(duplicates, SONG_FILES.schema), lake, SONG_FILES)
    no_tags = dict.fromkeys(("artist", "album", "genre", "release_year"), F.lit(None))
    songs = tables.delta_table(spark, lake, SONGS)
    songs.update(
        F.col("song_id") == rows[deleted].song_id, no_tags | {"title": F.lit(deleted.stem)}
    )
    deleted.unlink()
    overwritten.write_bytes(b"no music any more")
    index([music], lake, "--prune")
    status = {row.path: row.status for row in tables.read(spark, lake, SONG_FILES).collect()}
    assert [status[str(copy)] for copy in copies.values()] == ["indexed", "indexed"]
    assert "duplicate" not in status.values()
    titles = {row.title for row in tables.read(spark, lake, SONGS).collect()}
    assert f"copy of {deleted.stem}" in titles
    assert deleted.stem not in titles


def test_prune_removes_nothing_of_a_folder_that_seems_unmounted(
    indexed, collection, spark, tmp_path, capsys
):
    """All songs of one folder are gone at once; one song of the other folder is still there."""
    warehouse = shutil.copytree(indexed[0], tmp_path / "lake").as_posix()
    before = versions(warehouse)
    away = shutil.move(collection.folder, tmp_path / "away")
    collection.folder.mkdir()
    try:
        for folders in ([collection.folder], [Path(away), collection.folder]):
            words = ["index", *map(str, folders), "--prune", "--warehouse", warehouse]
            assert main(words) == 2
            assert f"every song of '{collection.folder}'" in capsys.readouterr().err
            assert versions(warehouse) == before
    finally:
        collection.folder.rmdir()
        shutil.move(away, collection.folder)


def test_remove_by_id_and_by_path(spark, place, music, lake):
    by_path, by_id = sorted((music / "B").iterdir())
    files = tables.read(spark, lake, SONG_FILES)
    song_id = files.filter(files.path == str(by_id)).first().song_id
    assert main(["remove", str(song_id), str(by_path), "--warehouse", lake]) == 0
    kept = contents(spark, lake)
    assert kept["fingerprints"] == contents(spark, str(place / "of A"))["fingerprints"]
    assert len(kept["songs"]) == len(kept["song_files"]) == 2


def test_remove_deletes_everything_computed_from_a_song(spark, lake):
    creation.create_for_models(spark, lake)
    gone, kept, *_ = (row.song_id for row in tables.read(spark, lake, SONGS).collect())

    def put(table: Table, **values) -> None:
        row = tuple(values.get(name) for name in table.schema.names)
        writes.append(spark.createDataFrame([row], table.schema), lake, table)

    for song_id, other in ((gone, kept), (kept, gone), (kept, kept)):
        put(RECOMMENDATIONS, source="audio", song_id=song_id, rank=1, recommended_song_id=other)
    for song_id in (gone, kept):
        put(FEATURES, source="audio", song_id=song_id)
        put(PREDICTIONS, source="audio", model="genre", song_id=song_id)
        put(FEATURE_FILES, path=f"/{song_id}", song_id=song_id)
    assert main(["remove", str(gone), "--warehouse", lake]) == 0
    for table in (FEATURES, PREDICTIONS, FEATURE_FILES, RECOMMENDATIONS):
        assert [row.song_id for row in tables.read(spark, lake, table).collect()] == [kept]
    (left,) = tables.read(spark, lake, RECOMMENDATIONS).collect()
    assert left.recommended_song_id == kept


def test_remove_of_an_unknown_song_removes_nothing(indexed, spark, capsys):
    warehouse, _ = indexed
    before = versions(warehouse)
    assert main(["remove", "12345", "--warehouse", warehouse]) == 2
    assert "'12345'" in capsys.readouterr().err
    assert versions(warehouse) == before


def test_batches_give_the_same_index(spark, place, music, tmp_path):
    batches = str(tmp_path / "batches")
    index([music], batches, "--set", "index.batch_gb=0.0005")
    assert len(list(Path(batches, "fingerprints/_delta_log").glob("*.json"))) > 2
    assert contents(spark, batches) == contents(spark, str(place / "of both"))


@pytest.mark.parametrize("batch_gb", [1, 0.0005], ids=["one batch", "batches"])
def test_run_does_without_the_stages_that_it_has_committed(
    spark, place, music, warehouse, monkeypatch, batch_gb
):
    """Another run that found the same songs removes a stage as soon as it is committed."""
    commit_batch = commit.commit_batch

    def commit_and_be_swept(*given, folder, **options):
        done = commit_batch(*given, folder=folder, **options)
        commit.undo_stage(spark, warehouse, folder)
        return done

    monkeypatch.setattr(commit, "commit_batch", commit_and_be_swept)
    index([music], warehouse, "--set", f"index.batch_gb={batch_gb}")
    assert contents(spark, warehouse) == contents(spark, str(place / "of both"))


def test_run_that_was_taken_for_dead_resumes(spark, place, music, warehouse, monkeypatch):
    stage = commit.stage

    def stage_and_be_swept(extracts, folder):
        staged = stage(extracts, folder)
        monkeypatch.undo()
        commit.sweep(commit.summary_rows(staged), warehouse, run_id="another")
        assert not Path(folder).exists()
        return staged

    monkeypatch.setattr(commit, "stage", stage_and_be_swept)
    index([music], warehouse)
    assert contents(spark, warehouse) == contents(spark, str(place / "of both"))


def test_different_parameters_are_refused_before_any_write(spark, music, indexed, capsys):
    warehouse, _ = indexed
    before = versions(warehouse)
    other = ["--set", "fingerprint.densities_per_s=[10]"]
    assert main(["index", str(music), "--warehouse", warehouse, *other]) == 1
    message = capsys.readouterr().err
    assert "[8, 16, 32]" in message
    assert "[10]" in message
    assert versions(warehouse) == before


def test_runs_record_what_happened(spark, indexed):
    warehouse, _ = indexed
    first = tables.read(spark, warehouse, RUNS).orderBy("started_at").first()
    assert (first.job, first.status) == ("index", "done")
    assert first.counts["new"] > first.counts["songs"] > 0
    assert '"densities_per_s"' in first.config


def test_spark_submit_gives_the_same_tables(submit, spark, place, music, tmp_path):
    """The only spark-submit run in this tier; test_submit.py has more."""
    lake = str(tmp_path / "there")
    done = submit("index_songs.py", music, "--warehouse", lake)
    assert done.returncode == 0, done.stderr
    assert "added   4 songs" in done.stdout
    assert contents(spark, lake) == contents(spark, str(place / "of both"))
