"""Real processes, hurt on purpose: nothing acknowledged may be lost, nothing aborted delivered."""
