"""Conference management: the reference application. So far: the seats of a conference, reserved by events."""
