"""The command `ap4r`: a thin face of `ap4r.control`, one module for each command."""
