"""Plays a WHEP stream with aiortc: `aiortc_viewer.py URL FRAMES` prints what it saw as JSON."""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

LIMIT_S = 60


def request(method, url, body=None, headers=None):
    message = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    return urllib.request.urlopen(message, timeout=LIMIT_S)


async def play(url, wanted):
    # No STUN server: the host candidates of this very machine are all that is needed.
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp.encode()
    answer = request("POST", url, offer, {"Content-Type": "application/sdp"})
    session = urllib.parse.urljoin(url, answer.headers["Location"])
    await peer.setRemoteDescription(RTCSessionDescription(answer.read().decode(), "answer"))
    frames = 0
    while frames < wanted:
        frame = await transceiver.receiver.track.recv()
        frames += 1
    deleted = request("DELETE", session).status
    await peer.close()
    return {"frames": frames, "width": frame.width, "height": frame.height, "deleted": deleted}


print(json.dumps(asyncio.run(asyncio.wait_for(play(sys.argv[1], int(sys.argv[2])), LIMIT_S))))
