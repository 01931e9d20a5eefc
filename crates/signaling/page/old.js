// For browsers that can't read the page's modules, or keep from them what they can't do without: says so, instead of waiting for
// ever. In words of 2009, so that they can read this.

addEventListener("load", function () {
  var old = document.getElementById("old");
  if (!old) return;
  old.hidden = false;
  // Controls that nobody listens to.
  document.body.className += " bare";
});
