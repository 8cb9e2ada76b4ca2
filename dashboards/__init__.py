"""The dashboard: Streamlit pages over the mirror, the runs folder and prepared data. Read only.

This folder is `hsray.dashboards` (a link in the package leads here), so it travels in the wheel.
"""
