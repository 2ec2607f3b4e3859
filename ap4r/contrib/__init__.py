"""Small adapters for web frameworks. Each module needs its framework; nothing else of ap4r does."""
