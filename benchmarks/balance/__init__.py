"""What each policy of balancing makes of three servers, of which one is stopped and one is ten times slower."""
