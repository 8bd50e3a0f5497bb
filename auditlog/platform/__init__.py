"""Owns how the service is run: the embedded PostgreSQL, the supervisor, the first start, rights, health and logs."""
