"""The other end: a connection to a server, and what people and scripts use it with."""
