"""Rendered rooms with exact metric depth: furniture, layout, cameras, Blender scene and photo model."""
