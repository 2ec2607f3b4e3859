"""The application's own connection: rows of ap4r that commit or roll back with the application's data.

It opens no connection, creates no table and retries nothing.
"""
