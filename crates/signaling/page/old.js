// For browsers that can't read the page's modules, or keep from them what they can't do without: says so, instead of waiting for
// ever. In words of 2009, so that they can read this.

function tell() {
  // The page's modules take it away when they run.
  var old = document.getElementById("old");
  if (!old) return;
  old.hidden = false;
  // Controls that nobody listens to.
  document.body.className += " bare";
}

addEventListener("load", tell);
// A part of the page that never comes keeps it from loading.
setTimeout(tell, 30000);
