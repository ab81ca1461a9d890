"""What everything else runs on: devices and float types, processes, random numbers, checks, progress, files."""
