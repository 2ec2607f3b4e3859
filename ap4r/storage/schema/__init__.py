"""The tables of a store, their version, and the steps from one version to the next."""
