"""A network camera: a moving picture over RTSP, on the port of 127.0.0.1 that the first argument names, with a keyframe in so
many pictures as the second says. With a third argument, `hd`, it is as cameras are: 1920x1080, 25 a second, high profile."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

PICTURE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={group} bitrate=1000 ! rtph264pay name=pay0 pt=96 )"
)

HD = (
    "( videotestsrc is-live=true pattern=smpte horizontal-speed=4 ! video/x-raw,width=1920,height=1080,framerate=25/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={group} bitrate=4000 ! video/x-h264,profile=main "
    "! rtph264pay name=pay0 pt=96 )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory(shared=True, launch=(HD if "hd" in sys.argv[3:] else PICTURE).format(group=sys.argv[2]))
server.get_mount_points().add_factory("/live", factory)
if not server.attach(None):
    sys.exit("the port is taken")
print("ready", flush=True)
GLib.MainLoop().run()
