// Shows a tooltip for the data point that is under the pointer or has the focus. The arrow keys move the
// focus between data points. Without this script, the browser shows the title of a data point as its tooltip.
(function () {
  var tip = document.getElementById("tip");
  function show(datum) {
    tip.textContent = datum.getAttribute("aria-label");
    tip.hidden = false;
    // Reset the position first, because the width of the tooltip depends on it.
    tip.style.left = "0px";
    var box = datum.getBoundingClientRect(), own = tip.getBoundingClientRect();
    var left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
    var above = box.top - own.height - 8;
    tip.style.left = left + window.scrollX + "px";
    tip.style.top = (above > 0 ? above : box.bottom + 8) + window.scrollY + "px";
  }
  function hide() { tip.hidden = true; }
  function datum(event) { return event.target.closest ? event.target.closest(".datum") : null; }
  document.querySelectorAll("svg.picture").forEach(function (picture) {
    var all = Array.from(picture.querySelectorAll(".datum"));
    all.forEach(function (one, n) {
      one.setAttribute("tabindex", n ? -1 : 0);
      // Remove the title, because the browser would show it as a second tooltip.
      var title = one.querySelector("title");
      if (title) { title.remove(); }
    });
    picture.addEventListener("keydown", function (event) {
      var at = all.indexOf(document.activeElement), to = at;
      if (event.key === "ArrowRight" || event.key === "ArrowDown") { to = Math.min(at + 1, all.length - 1); }
      else if (event.key === "ArrowLeft" || event.key === "ArrowUp") { to = Math.max(at - 1, 0); }
      else if (event.key === "Home") { to = 0; }
      else if (event.key === "End") { to = all.length - 1; }
      else { return; }
      if (at === -1) { return; }
      event.preventDefault();
      all[at].setAttribute("tabindex", -1);
      all[to].setAttribute("tabindex", 0);
      all[to].focus();
    });
    picture.addEventListener("focusin", function (event) { var d = datum(event); if (d) { show(d); } });
    picture.addEventListener("focusout", hide);
    picture.addEventListener("pointerover", function (event) { var d = datum(event); if (d) { show(d); } });
    picture.addEventListener("pointerout", hide);
  });
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") { hide(); } });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details:not(.again)").forEach(function (one) { one.open = true; });
  });
})();
