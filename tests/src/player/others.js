// WHEP players that others have made for web pages, each used as its README says.
import { WHEPClient as Binbat } from "@binbat/whip-whep/whep.js";
import { WebRTCPlayer } from "@eyevinn/webrtc-player";
import { WHEPClient as Medooze } from "whip-whep/whep.js";

const video = () => document.querySelector("video");

// What the page has asked for and been told, in order.
const asked = [];
const fetchAsItIs = window.fetch;
window.fetch = async (resource, options = {}) => {
  const response = await fetchAsItIs(resource, options);
  asked.push({ method: options.method ?? "GET", status: response.status, trickled: options.body });
  return response;
};

const byMedooze = (Client) => async (url) => {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  pc.addTransceiver("audio");
  pc.addTransceiver("video");
  pc.ontrack = (event) => {
    if (event.track.kind === "video") video().srcObject = event.streams[0];
  };
  const client = new Client();
  await client.view(pc, url, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl");
  return () => client.stop();
};

const others = {
  "whip-whep": byMedooze(Medooze),
  "@binbat/whip-whep": byMedooze(Binbat),
  async "@eyevinn/webrtc-player"(url) {
    // Without servers of its makers' choice: these pages know no way out of this machine.
    const player = new WebRTCPlayer({ video: video(), type: "whep", iceServers: [] });
    await player.load(new URL(url));
    return () => player.unload();
  },
};

window.others = {
  asked,
  names: Object.keys(others),

  async play(name, url) {
    asked.length = 0;
    const element = document.createElement("video");
    Object.assign(element, { muted: true, autoplay: true, playsInline: true });
    document.body.replaceChildren(element);
    others.stop = await others[name](url);
  },

  stop: () => others.stop(),

  decoded: () => video().getVideoPlaybackQuality().totalVideoFrames,

  // As MediaMTX's player begins: by asking for the ICE servers.
  async options(url) {
    const { status, headers } = await fetchAsItIs(url, { method: "OPTIONS", headers: { Authorization: "Bearer any" } });
    return { status, link: headers.get("Link"), accepts: headers.get("Accept-Post") };
  },
};
