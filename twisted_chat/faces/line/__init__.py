"""The line protocol, for telnet, nc and programs: see C{docs/protocol.md}."""
