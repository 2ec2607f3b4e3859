"""The project's promises about itself: layers, sizes, packaging, and docs that tell the truth."""
