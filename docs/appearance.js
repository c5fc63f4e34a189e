// The checks of docs/appearance.py. The script evaluates this file in each page and calls one of its functions.

const SMALLEST_FONT = 12;
const CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']";

function describe(element) {
  const names = [element.tagName.toLowerCase(), ...element.classList].join(".");
  const text = element.textContent.trim().replace(/\s+/g, " ").slice(0, 40);
  return `<${names}> ${JSON.stringify(text)}`;
}

function isVisible(element) {
  return element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getClientRects().length > 0;
}

// The sidebar of a phone, and text for screen readers only, are outside of the window or one pixel large.
function isOnPage(box) {
  return box.width > 1 && box.height > 1 && box.right > 0 && box.left < document.documentElement.clientWidth + 1 && box.bottom > 0;
}

function rgba(color) {
  const numbers = color.match(/[\d.]+/g).map(Number);
  return [numbers[0], numbers[1], numbers[2], numbers[3] ?? 1];
}

function blend(over, under) {
  const alpha = over[3];
  return [0, 1, 2].map(channel => over[channel] * alpha + under[channel] * (1 - alpha));
}

function luminance(color) {
  const [red, green, blue] = color.map(channel => {
    const value = channel / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(first, second) {
  const [darker, lighter] = [luminance(first), luminance(second)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

// Canvas colors, such as color(srgb ..), have channels from 0 to 1.
function parse(color) {
  return color.startsWith("color(") ? rgba(color.slice(10)).map((value, index) => (index < 3 ? value * 255 : value)) : rgba(color);
}

function backgroundOf(element, box) {
  const layers = [];
  const svg = element.closest("svg");
  if (svg && element !== svg) {
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    for (const shape of svg.querySelectorAll("rect, circle")) {
      const area = shape.getBoundingClientRect();
      const style = getComputedStyle(shape);
      const isBelow = shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
      if (isBelow && x > area.left && x < area.right && y > area.top && y < area.bottom && style.fill.startsWith("rgb")) {
        const fill = parse(style.fill);
        layers.push([...fill.slice(0, 3), fill[3] * style.fillOpacity * style.opacity]);
      }
    }
    layers.reverse();
  }
  for (let parent = element; parent; parent = parent.parentElement) {
    const color = parse(getComputedStyle(parent).backgroundColor);
    if (color[3] > 0) {
      layers.push(color);
    }
  }
  const page = getComputedStyle(document.documentElement).colorScheme.includes("dark") ? [18, 18, 18] : [255, 255, 255];
  return layers.reduceRight((under, layer) => blend(layer, under), page);
}

function opacityOf(element) {
  let opacity = 1;
  for (let parent = element; parent; parent = parent.parentElement) {
    opacity *= getComputedStyle(parent).opacity;
  }
  return opacity;
}

function contrastFault(element, box, style, size) {
  const ink = parse(element.closest("svg") ? style.fill : style.color);
  // Browsers print no backgrounds, except those of heat maps.
  const isPaper = matchMedia("print").matches && !element.closest("svg");
  const background = isPaper ? [255, 255, 255] : backgroundOf(element, box);
  const ratio = contrast(blend([...ink.slice(0, 3), ink[3] * opacityOf(element)], background), background);
  const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  const least = isLarge ? 3 : 4.5;
  return ratio < least - 0.005 ? `the contrast is ${ratio.toFixed(2)}` : null;
}

// Returns whether an ancestor hides a part of the text, and the text cannot be scrolled into view.
function isCut(element, box) {
  let [left, right, top, bottom] = [box.left, box.right, box.top, box.bottom];
  const hides = value => value === "hidden" || value === "clip";
  for (let parent = element; parent && parent !== document.body; parent = parent.parentElement) {
    const style = getComputedStyle(parent);
    const area = parent.getBoundingClientRect();
    const isBox = style.display !== "inline" && style.display !== "contents";
    if (isBox && hides(style.overflowX) && (left < area.left - 2 || right > area.right + 2)) {
      return true;
    }
    if (isBox && hides(style.overflowY) && (top < area.top - 4 || bottom > area.bottom + 4)) {
      return true;
    }
    // What a scroll container shows is limited by its own box.
    if (isBox && style.overflowX !== "visible") {
      [left, right] = [Math.max(left, area.left), Math.min(right, area.right)];
    }
    if (isBox && style.overflowY !== "visible") {
      [top, bottom] = [Math.max(top, area.top), Math.min(bottom, area.bottom)];
    }
    if (style.position === "fixed") {
      break;
    }
  }
  return left < -2 || right > document.documentElement.clientWidth + 2;
}

function fontSize(element, style) {
  const size = parseFloat(style.fontSize);
  const matrix = element.closest("svg") && element.getScreenCTM ? element.getScreenCTM() : null;
  return matrix ? size * Math.hypot(matrix.a, matrix.b) : size;
}

function textNodes() {
  const nodes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.data.trim() && !node.parentElement.closest("script, style, noscript, title, desc, option")) {
      nodes.push(node);
    }
  }
  return nodes;
}

// Returns the first pair of labels that overlap, and the number of pairs.
function overlaps(svg) {
  const labels = Array.from(svg.querySelectorAll("text"), text => [text.textContent, text.getBoundingClientRect()])
    .filter(([text]) => text.trim());
  const faults = [];
  labels.forEach(([first, a], index) => {
    for (const [second, b] of labels.slice(index + 1)) {
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width > 1 && height > 4) {
        faults.push(`labels overlap: ${first} / ${second}`);
      }
    }
  });
  return faults.length > 1 ? [`${faults[0]} and ${faults.length - 1} more`] : faults;
}

// Returns a message for each kind of fault, with an example and the number of places.
function visibleFaults() {
  const faults = new Map();
  const add = (kind, element) => {
    const key = `${kind}: <${[element.tagName.toLowerCase(), ...element.classList].join(".")}>`;
    const fault = faults.get(key) ?? { kind, example: describe(element), count: 0 };
    fault.count += 1;
    faults.set(key, fault);
  };
  const range = document.createRange();
  for (const node of textNodes()) {
    const element = node.parentElement;
    if (!isVisible(element)) {
      continue;
    }
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!isOnPage(box)) {
      continue;
    }
    const style = getComputedStyle(element);
    const size = fontSize(element, style);
    if (size < SMALLEST_FONT - 0.01) {
      add(`the text is ${size.toFixed(1)} pixels large`, element);
    }
    if (isCut(element, box) || (element.closest("main svg") && node.data.endsWith("…"))) {
      add("the text is cut off", element);
    }
    const fault = contrastFault(element, box, style, size);
    if (fault) {
      add(fault, element);
    }
  }
  const messages = Array.from(faults.values(), ({ kind, example, count }) => `${kind}: ${example}${count > 1 ? ` and ${count - 1} more` : ""}`);
  const containers = [document.documentElement, ...document.querySelectorAll(".content, main")];
  for (const container of containers) {
    if (container.scrollWidth > container.clientWidth + 1) {
      messages.push(`the page is wider than its window: ${container.scrollWidth} pixels of ${container.clientWidth} in <${container.tagName.toLowerCase()}>`);
    }
  }
  for (const cell of document.querySelectorAll("main td")) {
    if (cell.textContent.length > 80 && cell.clientWidth > 0 && cell.clientWidth < 110) {
      messages.push(`the column is narrow: ${describe(cell)}`);
    }
  }
  for (const svg of document.querySelectorAll("main svg")) {
    if (isVisible(svg)) {
      messages.push(...overlaps(svg));
    }
  }
  return messages;
}

function controls() {
  return Array.from(document.querySelectorAll("main")).flatMap(main => Array.from(main.querySelectorAll(CONTROLS)))
    .filter(control => isVisible(control) && control.tabIndex >= 0 && !control.disabled);
}

// Moves the focus in front of the first control of the page's text.
function startKeyboard() {
  const main = document.querySelector("main");
  main.tabIndex = -1;
  main.focus();
  return controls().map(describe);
}

// Returns the control that has the focus, or nothing outside of the page's text.
function focused() {
  const element = document.activeElement;
  if (!element || !element.closest("main")) {
    return null;
  }
  const style = getComputedStyle(element);
  const hasOutline = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return {
    index: controls().indexOf(element),
    name: describe(element),
    visible: (hasOutline || style.boxShadow !== "none") && isVisible(element),
  };
}

// Chooses a theme for the next page, as mdBook's menu does.
function chooseTheme(name) {
  if (name) {
    localStorage.setItem("mdbook-theme", name);
  } else {
    localStorage.removeItem("mdbook-theme");
  }
}

function hasScriptedParts() {
  return document.querySelector(".tabs, .simulator") !== null;
}

// Without JavaScript and on paper, each variant of the tabs is visible, with its label.
function hiddenVariants() {
  const messages = [];
  for (const part of document.querySelectorAll(".tab, .tab-label, .simulator")) {
    if (!isVisible(part)) {
      messages.push(`hidden: ${describe(part)}`);
    }
  }
  for (const figure of document.querySelectorAll(".simulator")) {
    if (!Array.from(figure.querySelectorAll("svg")).some(isVisible)) {
      messages.push("the interactive figure shows no picture");
    }
  }
  return messages;
}

function selectedTabs() {
  return Array.from(document.querySelectorAll("[role=tablist]"), list => {
    const tabs = Array.from(list.querySelectorAll("[role=tab]"));
    const isShown = tab => isVisible(document.getElementById(tab.getAttribute("aria-controls")));
    return {
      all: tabs.map(tab => tab.textContent),
      selected: tabs.filter(tab => tab.getAttribute("aria-selected") === "true" && isShown(tab)).map(tab => tab.textContent),
    };
  });
}

function focusTab() {
  document.querySelector("[role=tab][aria-selected=true]").focus();
}

function focusedTab() {
  const active = document.activeElement;
  return active && active.getAttribute("role") === "tab" ? active.textContent : null;
}

// Compares the figure of the page with the one that its script draws for the same numbers. mdBook adds line breaks.
function isStaticFigureCurrent() {
  const drawn = document.createElement("div");
  drawn.innerHTML = simulator.figure();
  const content = root => root.querySelector(".simulator-pictures").innerHTML.trim().replace(/>\s+</g, "><") +
    root.querySelector(".simulator figcaption").textContent;
  return content(document) === content(drawn);
}

function sliders() {
  return Array.from(document.querySelectorAll(".simulator input"), input => input.name);
}

function simulatorState() {
  const figure = document.querySelector(".simulator");
  const focus = figure && figure.contains(document.activeElement) ? document.activeElement.name : null;
  return figure ? { focus, sentence: figure.querySelector("[aria-live]").textContent } : null;
}

function focusSlider(name) {
  document.querySelector(`.simulator input[name=${name}]`).focus();
  return simulatorState();
}

function setSliders(values) {
  for (const [name, value] of Object.entries(values)) {
    const input = document.querySelector(`.simulator input[name=${name}]`);
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

// Types a word into the search field, and opens the search, which loads the index. Returns the number of results.
async function search(word) {
  const results = document.getElementById("mdbook-searchresults");
  const found = new Promise(resolve => {
    const report = () => resolve(results.children.length);
    new MutationObserver(() => results.children.length && report()).observe(results, { childList: true });
    setTimeout(report, 10000);
  });
  document.getElementById("mdbook-searchbar").value = word;
  document.getElementById("mdbook-search-toggle").click();
  return found;
}
