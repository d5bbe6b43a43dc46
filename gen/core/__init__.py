"""What every room of the generator builds on: codes, random numbers, records, masks, filters."""
