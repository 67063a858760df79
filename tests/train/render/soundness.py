"""What is wrong with a furnished room: checked by other means than those that placed the things."""

import numpy as np

from train.render.layout import Item, Layout, Zone, penetrate
from train.render.mesh import turned


def problems(layout: Layout) -> list[str]:
    """What is wrong with a layout: things that float, that pass through each other, or that leave their room.

    Returns:
        One sentence each; empty for a sound layout.
    """
    found = []
    for item in layout.items:
        if isinstance(item.on, Item):
            u, v = turned(np.array([[item.x - item.on.x, item.y - item.on.y, 0]]), -item.on.yaw)[0, :2]
            top = item.on.height_at(u, v)
            heights = [layer.height * item.on.scale + item.on.z for layer in item.on.mesh.survey.layers]
            if item.soft:
                held = item.z < top + 0.05 and item.z + item.size[2] > top - 0.02
            else:
                held = min(abs(item.z - height) for height in [*heights, top]) < 0.006
        elif item.on == "floor":
            held = item.z <= 0.015
        elif item.on == "ceiling":
            held = abs(item.z + item.size[2] - layout.height) < 0.006
        else:
            held = any(_on_wall(item, zone) for zone in layout.zones)
        if not held:
            carrier = getattr(item.on, "name", item.on)
            found.append(f"{item.name} at {item.x:.2f}, {item.y:.2f}, {item.z:.2f} is not carried by {carrier}")
    solid = [item for item in layout.items if not item.soft]
    for item in solid:
        inside = any(zone.holds(item.x, item.y, -0.4) for zone in layout.zones)
        if not inside or item.z + item.size[2] > layout.height + 0.002:
            found.append(f"{item.name} at {item.x:.2f}, {item.y:.2f} is outside the room")
        for _, other in layout.touching(item.box):
            if other is None or id(other) >= id(item) or other is item.on or item is other.on:
                continue
            if penetrate(item, other) or penetrate(other, item):
                found.append(f"{item.name} and {other.name} at {item.x:.2f}, {item.y:.2f} pass through each other")
    return found


def _on_wall(item: Item, zone: Zone) -> bool:
    """Whether the back of a thing is within 3 cm of a wall of the zone."""
    x, y = item.at(0, item.size[1] / 2)
    rims = zone.x0 - x, x - zone.x1, zone.y0 - y, y - zone.y1
    return abs(max(rims)) < 0.03
