"""Speed, measured side by side in one run. Each file is a program; each has a short form that CI runs."""
