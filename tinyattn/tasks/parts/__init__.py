"""What several tasks share: files, vocabularies, batches, metrics, random streams, judges."""
