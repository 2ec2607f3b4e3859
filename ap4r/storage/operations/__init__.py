"""The operations of a store in SQL, a module each: functions over one open transaction."""
