"""MySQL, MariaDB and Galera."""
