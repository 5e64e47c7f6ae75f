"""What every room of the runtime needs: semirings, contractions, ragged batches, inputs."""
