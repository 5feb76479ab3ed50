"""Tests of the line protocol, which server and client share."""
