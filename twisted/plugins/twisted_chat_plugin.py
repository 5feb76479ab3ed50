from twisted.application.service import ServiceMaker

chat = ServiceMaker(
    "Twisted Chat",
    "twisted_chat.tap",
    "A chat server that people join with telnet or nc.",
    "chat",
)
