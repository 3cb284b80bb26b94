"""The Spark session, its jars, and file systems that Spark reaches."""
