"""The command `ap4r`."""
