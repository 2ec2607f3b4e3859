"""What the tests share: real processes, a scripted target, a ledger kept outside the system, and ways to wait."""
