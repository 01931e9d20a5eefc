// Logging in: a token that is typed, or the code of a one-time link, which stands behind the # of the address.

const REQUEST_TIMEOUT = 10_000;

const form = document.getElementById("login");
const token = document.getElementById("token");
const notice = document.getElementById("notice");
const root = new URL(form.dataset.root || "./", location.href);

/** Shows what was given at the door, and goes where it leads: to the page that was asked for, if one was. */
async function enter(shown) {
  notice.textContent = "One moment …";
  try {
    const response = await fetch(new URL("login", root), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(shown),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT),
    });
    const answer = await response.json();
    if (response.ok) {
      const atTheDoor = location.pathname === new URL("login", root).pathname;
      if (atTheDoor) location.replace(new URL(answer.next, root));
      else location.reload();
    } else notice.textContent = shown.code ? "This link was used already, or is too old. Ask for another." : answer.detail;
  } catch {
    notice.textContent = "The server can't be reached. Try again.";
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enter({ token: token.value.trim() });
});

const code = location.hash.slice(1);
if (code) {
  // Not to stay in the address bar, from where it would be passed on.
  history.replaceState(null, "", location.pathname);
  enter({ code });
} else token.focus();
