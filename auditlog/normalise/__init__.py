"""Owns understanding: what one stored item says, in one vocabulary. Pure: no Django, no database, no clock."""
