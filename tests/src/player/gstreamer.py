"""A player on GStreamer's webrtcbin: its arguments are the one address it gathers on and its policy of bundling.

It says its offer, is told the answer and how many pictures to play, and says what it saw: one line of JSON each.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC

DECODER = "rtph264depay ! h264parse ! openh264dec ! fakesink name=screen signal-handoffs=true sync=false"

# What GStreamer's DTLS element calls its cipher and authentication.
PROFILES = {(1, 2): "SRTP_AES128_CM_SHA1_80"}

address, bundle_policy = sys.argv[1:]
left = 0


def say(what):
    print(json.dumps(what), flush=True)


def on_offer(promise):
    # The offer lives in the reply: without a name of its own the reply would be gone first.
    reply = promise.get_reply()
    peer.emit("set-local-description", reply["offer"], Gst.Promise.new())


def on_gathering(*_):
    if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        say(peer.get_property("local-description").sdp.as_text())
        GLib.io_add_watch(sys.stdin, GLib.IO_IN, on_answer)


def on_answer(*_):
    global left
    told = json.loads(sys.stdin.readline())
    left = told["pictures"]
    _, sdp = GstSdp.SDPMessage.new_from_text(told["answer"])
    answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
    peer.emit("set-remote-description", answer, Gst.Promise.new())
    return GLib.SOURCE_REMOVE


def on_stream(_, pad):
    decoder = Gst.parse_bin_from_description(DECODER, True)
    decoder.get_by_name("screen").connect("handoff", on_picture)
    pipeline.add(decoder)
    pad.link(decoder.get_static_pad("sink"))
    decoder.sync_state_with_parent()


def on_picture(_screen, _picture, pad):
    global left
    left -= 1
    if left == 0:
        size = pad.get_current_caps().get_structure(0)
        say({"width": size["width"], "height": size["height"], "profile": agreed()})


def agreed():
    _, dtls = pipeline.iterate_all_by_element_factory_name("dtlsdec").next()
    return PROFILES[dtls.get_property("srtp-cipher"), dtls.get_property("srtp-auth")]


Gst.init(None)
pipeline = Gst.Pipeline.new()
peer = Gst.ElementFactory.make("webrtcbin")
peer.set_property("bundle-policy", bundle_policy)
agent = peer.get_property("ice-agent")
agent.emit("add-local-ip-address", address)
peer.connect("notify::ice-gathering-state", on_gathering)
peer.connect("pad-added", on_stream)
pipeline.add(peer)
pipeline.set_state(Gst.State.PLAYING)
for media in "audio,encoding-name=OPUS,payload=97,clock-rate=48000", "video,encoding-name=H264,payload=96,clock-rate=90000":
    caps = Gst.Caps.from_string(f"application/x-rtp,media={media}")
    peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, caps)
peer.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer))
GLib.MainLoop().run()
