"""Anchors of headings, as JupyterLab makes them."""


def as_jupyter(title: str) -> str:
    return title.replace(" ", "-")
