"""The overall state, for monitors, dashboards and the page."""
