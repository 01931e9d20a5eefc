"""A player on aiortc: its arguments are the one address it gathers on and the one SRTP profile it speaks.

It says its offer, is told the answer and how many pictures to play, and says what it saw: one line of JSON each.
"""

import asyncio
import json
import sys

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, rtcdtlstransport

address, profile = sys.argv[1:]

# aiortc has no settings for these.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]
rtcdtlstransport.SRTP_PROFILES[:] = [
    known for known in rtcdtlstransport.SRTP_PROFILES if known.openssl_profile == profile.encode()
]


def say(what):
    print(json.dumps(what), flush=True)


async def play():
    # No STUN server: the host candidates of this very machine are all that is needed.
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("audio", direction="recvonly")
    receiver = peer.addTransceiver("video", direction="recvonly").receiver
    await peer.setLocalDescription(await peer.createOffer())
    say(peer.localDescription.sdp)
    told = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await peer.setRemoteDescription(RTCSessionDescription(told["answer"], "answer"))
    for _ in range(told["pictures"]):
        picture = await receiver.track.recv()
    agreed = receiver.transport._ssl.get_selected_srtp_profile().decode()
    say({"width": picture.width, "height": picture.height, "profile": agreed})
    # Closing would end the session before its owner does.
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(play())
