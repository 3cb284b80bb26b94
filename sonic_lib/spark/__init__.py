"""The Spark session, its jars and its file systems."""
