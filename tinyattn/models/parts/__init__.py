"""What several models share: encoders and decoders, the search for the best answer, generation."""
