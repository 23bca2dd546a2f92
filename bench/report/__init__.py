"""Figures to medians, ratios, bars, tables and charts. Pure: no process, no clock."""
