"""Files that releases wrote, which every later release has to read as they were."""
