"""Is all well? What monitors, dashboards and the page ask."""
