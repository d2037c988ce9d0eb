"""What widgets share: a picture on the screen that goes away when there is nothing to show."""

from __future__ import annotations

from ipywidgets import Image


def show(widget: Image, picture: bytes) -> None:
    """Show an encoded picture; hide the widget when it is empty, which browsers draw as a broken one."""
    widget.layout.display = None if picture else "none"
    widget.value = picture
