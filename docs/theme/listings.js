// Removes the indentation that all lines of a listing share. A part of a function is included with the function's
// indentation, and phones have no room for it.
"use strict";

(() => {
  function sharedIndentation(text) {
    const lines = text.split("\n").filter(line => line.trim());
    return Math.min(...lines.map(line => line.search(/\S/)));
  }

  // Highlighting has split the text into many nodes.
  function unindent(code) {
    const shared = sharedIndentation(code.textContent);
    const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    let column = 0;
    const isKept = character => {
      const isIndentation = character === " " && column < shared;
      column = character === "\n" ? 0 : isIndentation ? column + 1 : shared;
      return !isIndentation;
    };
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      node.data = Array.from(node.data).filter(isKept).join("");
    }
  }

  document.querySelectorAll("main pre > code:is(.language-rust, .language-python, .language-toml)").forEach(unindent);
})();
