"""KITTI's depth frames (Geiger et al. 2013; Uhrig et al. 2017), whose depth maps are 16-bit PNG in 1/256 m."""

from depth_unet.camera import Camera
from depth_unet.data.layout import Layout
from depth_unet.data.origin import Origin
from depth_unet.data.scoring import KITTI_GARG

# P_rect_02 of the recordings of 2011-09-26, in the rectified frame of 1242x375; other days differ by up to 2 %.
KITTI = Layout(
    camera=Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854),
    shown=(0.0, 1.0, 0.0, 1.0),
    farthest=256.0,  # where 16 bits end
    rule=KITTI_GARG,
    mask="where the laser scanner measured",
    origin=Origin(
        "KITTI (Geiger et al. 2013)",
        "https://www.cvlibs.net/datasets/kitti",
        "CC BY-NC-SA 3.0",
        "research-only",
    ),
    metres_per_unit=1 / 256,
)
