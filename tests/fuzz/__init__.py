"""Fuzz targets: whatever bytes come, nothing is raised but our own refusals. `make fuzz` runs them."""
