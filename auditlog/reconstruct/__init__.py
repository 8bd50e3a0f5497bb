"""Owns explanation: from the facts of a session to what happened. Pure, and knows no vendor."""
