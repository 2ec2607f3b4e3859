"""Work on one store: register, claim, settle, rescue, prune, stop."""
