"""What a model is run on: recordings, arrays and random numbers, fetched and checked."""
