// Logging in: a token that is typed, or the code of a one-time link, which stands behind the # of the address.

import { $, setText } from "./format.js";
import { refusal, request, sending } from "./http.js";

const LOGIN_TIMEOUT = 10000;

const form = $("login");
const token = $("token");
const root = new URL(form.dataset.root || "./", location.href);

/** Shows what was given at the door, and goes where it leads: to the page that was asked for, if one was. @param {{token?: string, code?: string}} shown */
async function enter(shown) {
  const say = (/** @type {string} */ text) => setText($("notice"), text);
  if (!navigator.cookieEnabled) return say("This browser keeps no cookies. Logging in takes one.");
  say("One moment …");
  try {
    const response = await request(new URL("login", root), sending("POST", shown), LOGIN_TIMEOUT);
    if (response.ok) {
      const { next } = JSON.parse(await response.text());
      const atTheDoor = location.pathname === new URL("login", root).pathname;
      if (atTheDoor) location.replace(new URL(next, root).href);
      else location.reload();
    } else say(shown.code ? "This link was used already, or is too old. Ask for another." : (await refusal(response)).message);
  } catch {
    say("The server can't be reached. Try again.");
  }
}

form.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  enter({ token: token.value.trim() });
});

const code = location.hash.slice(1);
if (code) {
  // Not to stay in the address bar, from where it would be passed on.
  history.replaceState(null, "", location.pathname);
  enter({ code });
} else token.focus();
