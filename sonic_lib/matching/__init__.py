"""Match clip hashes against the fingerprint table: candidates, ranked and scored."""
