"""A publisher on GStreamer's webrtcbin: its one argument is the address that it publishes to (WHIP).

It says `ready` once its pictures go out, and goes on until it is ended.
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC

(endpoint,) = sys.argv[1:]

# A keyframe each two seconds, whether it is asked for one or not: as encoders for broadcasts have it.
PIPELINE = """webrtcbin name=peer bundle-policy=max-bundle
    videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=25/1,format=I420
    ! openh264enc gop-size=50 bitrate=800000 ! video/x-h264,profile=constrained-baseline
    ! h264parse ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96
    ! application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000 ! peer."""


def on_offer(promise):
    # The offer lives in the reply: without a name of its own the reply would be gone first.
    reply = promise.get_reply()
    peer.emit("set-local-description", reply["offer"], Gst.Promise.new())


def on_gathering(*_):
    if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        GLib.idle_add(publish)


def publish():
    offer = peer.get_property("local-description").sdp.as_text().encode()
    request = urllib.request.Request(endpoint, offer, {"content-type": "application/sdp"})
    with urllib.request.urlopen(request) as answer:
        _, sdp = GstSdp.SDPMessage.new_from_text(answer.read().decode())
    answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
    peer.emit("set-remote-description", answer, Gst.Promise.new())
    return GLib.SOURCE_REMOVE


def on_connection(*_):
    if peer.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.CONNECTED:
        print("ready", flush=True)


def on_needed(_):
    peer.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer))


Gst.init(None)
pipeline = Gst.parse_launch(PIPELINE)
peer = pipeline.get_by_name("peer")
peer.connect("on-negotiation-needed", on_needed)
peer.connect("notify::ice-gathering-state", on_gathering)
peer.connect("notify::connection-state", on_connection)
pipeline.set_state(Gst.State.PLAYING)
peer.emit("get-transceiver", 0).set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
GLib.MainLoop().run()
