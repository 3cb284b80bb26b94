"""Clip hashes and the fingerprint table to ranked, judged candidates."""
