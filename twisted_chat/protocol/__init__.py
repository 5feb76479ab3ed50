"""The line protocol's words, for the server and the client."""
