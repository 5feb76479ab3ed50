"""How people reach the chat: each face turns bytes into commands and events into bytes."""
