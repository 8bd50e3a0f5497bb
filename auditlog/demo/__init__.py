"""Owns the demo: about a dozen real captured sessions of several customers, as the bodies that exporters sent.

`sessions/` holds them as `build.py` wrote them; `manage.py demo` sends them through the OTLP port like any exporter.
"""
