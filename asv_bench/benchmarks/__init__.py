"""What airspeed velocity measures of every commit: run `asv` in the folder above."""
