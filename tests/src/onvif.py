"""A camera that is found by WS-Discovery and asked by ONVIF: a stand-in. It answers as the specifications' examples do, checks who
asks as they demand (WS-UsernameToken with a digest, a time near its own, no nonce twice), and has no pictures. Its clock is off by
a day, as that of a camera without a time server may be.

Arguments: the address to be at; user:password, or nothing where anybody may ask; the hosts that it says its media service and its
pictures are on."""

import base64
import datetime
import hashlib
import http.server
import re
import socket
import struct
import sys
import threading

ADDRESS, LOGIN, MEDIA, PICTURES = sys.argv[1:5]
PORT = 8000
CLOCK = datetime.timedelta(days=1)
ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl"
 xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl"
 xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error">%s</SOAP-ENV:Envelope>"""


def body(text):
    return ENVELOPE % ("<SOAP-ENV:Body>" + text + "</SOAP-ENV:Body>")


def fault(code, words):
    return body(
        "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode><SOAP-ENV:Value>ter:%s"
        "</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code><SOAP-ENV:Reason><SOAP-ENV:Text xml:lang=\"en\">%s</SOAP-ENV:Text>"
        "</SOAP-ENV:Reason></SOAP-ENV:Fault>" % (code, words)
    )


def match(asked):
    relates = re.search(r"MessageID[^>]*>([^<]*)<", asked).group(1)
    return ENVELOPE % (
        "<SOAP-ENV:Header><wsa:MessageID>uuid:2a6dc791-2be6-4991-9af1-454778a1917a</wsa:MessageID><wsa:RelatesTo>%s</wsa:RelatesTo>"
        "<wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</wsa:Action></SOAP-ENV:Header><SOAP-ENV:Body>"
        "<d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:98190dc2-0890-4ef8-ac9a-5940995e6119"
        "</wsa:Address></wsa:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types>"
        "<d:Scopes>onvif://www.onvif.org/Profile/Streaming onvif://www.onvif.org/name/Yard%%20Cam</d:Scopes>"
        "<d:XAddrs>http://[fe80::1]/onvif/device_service http://%s:%d/onvif/device_service</d:XAddrs>"
        "<d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body>" % (relates, ADDRESS, PORT)
    )


def discovery():
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", 3702))
    group = struct.pack("4s4s", socket.inet_aton("239.255.255.250"), socket.inet_aton(ADDRESS))
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    return listener


def answer(listener):
    while True:
        asked, sender = listener.recvfrom(65536)
        if b"Probe" in asked and b"NetworkVideoTransmitter" in asked:
            listener.sendto(match(asked.decode()).encode(), sender)


def profile(token, width, height):
    return (
        '<trt:Profiles token="%s" fixed="true"><tt:Name>%s</tt:Name><tt:VideoEncoderConfiguration token="e"><tt:Name>e</tt:Name>'
        "<tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>%d</tt:Width><tt:Height>%d</tt:Height></tt:Resolution>"
        "</tt:VideoEncoderConfiguration></trt:Profiles>" % (token, token, width, height)
    )


used = set()


def is_known(asked):
    """Whether who asks has proved it (WS-Security UsernameToken Profile 1.0)."""
    if not LOGIN:
        return True
    found = [re.search(name + r"(?:\s[^>]*)?>([^<]*)<", asked) for name in (":Username", ":Password", ":Nonce", ":Created")]
    if not all(found):
        return False
    user, given, nonce, created = [part.group(1) for part in found]
    name, password = LOGIN.split(":", 1)
    time = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
    off = abs(time - datetime.datetime.now(datetime.timezone.utc) - CLOCK)
    digest = hashlib.sha1(base64.b64decode(nonce) + created.encode() + password.encode()).digest()
    fresh = nonce not in used and off < datetime.timedelta(seconds=30)
    used.add(nonce)
    return fresh and user == name and given == base64.b64encode(digest).decode()


def answered(asked):
    if "GetSystemDateAndTime" in asked:
        now = datetime.datetime.now(datetime.timezone.utc) + CLOCK
        return 200, body(
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType><tt:UTCDateTime>"
            "<tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year>"
            "<tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime>"
            "</tds:GetSystemDateAndTimeResponse>" % (now.hour, now.minute, now.second, now.year, now.month, now.day)
        )
    if not is_known(asked):
        return 400, fault("NotAuthorized", "Sender not Authorized")
    if "GetCapabilities" in asked:
        return 200, body(
            "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>http://%s:%d/onvif/media</tt:XAddr></tt:Media>"
            "</tds:Capabilities></tds:GetCapabilitiesResponse>" % (MEDIA, PORT)
        )
    if "GetProfiles" in asked:
        both = profile("main", 1920, 1080) + profile("sub", 640, 360)
        return 200, body("<trt:GetProfilesResponse>" + both + "</trt:GetProfilesResponse>")
    token = re.search(r"ProfileToken>(\w+)<", asked)
    if "GetStreamUri" in asked and "RTP-Unicast" in asked and token:
        return 200, body(
            "<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://%s/live?channel=1&amp;stream=%s</tt:Uri></trt:MediaUri>"
            "</trt:GetStreamUriResponse>" % (PICTURES, token.group(1))
        )
    return 400, fault("ActionNotSupported", "Not that")


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, said = answered(asked)
        said = said.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


listener = discovery()
service = http.server.ThreadingHTTPServer((ADDRESS, PORT), Service)
threading.Thread(target=answer, args=(listener,), daemon=True).start()
print("ready", flush=True)
service.serve_forever()
