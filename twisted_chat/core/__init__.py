"""What chat is: people, rooms, messages, and who hears what.

Nothing in here imports Twisted, opens anything or reads a clock.
"""
