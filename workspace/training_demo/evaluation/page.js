"use strict";
// What the pages have in common, before the script of each: the data, elements, lines of boxes, the
// theme and keys. Text from outside, such as file names, enters a page through textContent alone.

const data = JSON.parse(document.getElementById("data").textContent);

// ---- elements -----------------------------------------------------------------------------------

function byId(id) {
  return document.getElementById(id);
}

function setAttributes(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, value);
  }
}

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

function svgElement(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  setAttributes(node, attributes);
  if (text !== undefined) {
    node.textContent = text;
  }
  return node;
}

function fixed(value, digits) {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}

function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

function drawProvenance() {
  for (const [name, value] of data.provenance) {
    byId("provenance").append(element("dt", {}, name), element("dd", {}, value));
  }
}

// ---- lines of boxes -------------------------------------------------------------------------------

function boxPath([xmin, ymin, xmax, ymax]) {
  return `M${xmin} ${ymin}H${xmax}V${ymax}H${xmin}Z`;
}

// Draws groups of boxes, each { name, d, style }, in an <svg>. lineWidth is in pixels of the screen.
function drawLines(svg, groups, lineWidth) {
  // All rims first: a rim must not hide a neighbour's line.
  const rims = [];
  const lines = [];
  for (const { name, d, style } of groups) {
    if (!d) {
      continue;
    }
    const dashes = style.dashes.map((length) => length * lineWidth).join(" ");
    const common = { d, "stroke-dasharray": dashes };
    const rimWidth = lineWidth + 1.4;
    rims.push(
      svgElement("path", { ...common, class: "rim", stroke: style.rim, "stroke-width": rimWidth })
    );
    lines.push(
      svgElement("path", {
        ...common,
        class: name,
        stroke: style.colour,
        "stroke-width": lineWidth,
      })
    );
  }
  svg.replaceChildren(...rims, ...lines);
}

// A piece of a group's line, on dark as on most shelves.
function lineSample(style) {
  const svg = svgElement("svg", { viewBox: "0 0 37 16", class: "sample", "aria-hidden": "true" });
  const dashes = style.dashes.map((length) => length * 2.2).join(" ");
  const line = { d: "M3 8H34", "stroke-dasharray": dashes };
  if (style.rim !== "#000000") {
    svg.append(svgElement("path", { ...line, stroke: style.rim, "stroke-width": 4 }));
  }
  svg.append(svgElement("path", { ...line, stroke: style.colour, "stroke-width": 2.2 }));
  return svg;
}

// ---- theme and keys -------------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];

function nextTheme() {
  const root = document.documentElement;
  const current = THEMES.indexOf(root.dataset.theme || "system");
  const theme = THEMES[(current + 1) % THEMES.length];
  if (theme === "system") {
    delete root.dataset.theme;
  } else {
    root.dataset.theme = theme;
  }
  byId("theme").textContent = `Theme: ${theme}`;
}

function nextOption(select) {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
}

function isTyping(event) {
  return event.target.matches("input[type=number], select");
}

// keyAction: event to what its key does, or null.
function listenToKeys(keyAction) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) {
      return;
    }
    const act = keyAction(event);
    if (act) {
      event.preventDefault();
      act();
    }
  });
}

function setUpPage() {
  byId("theme").addEventListener("click", nextTheme);
  // What is scrolled into view must not be hidden by the bar, which stays at the top.
  new ResizeObserver(() => {
    document.documentElement.style.scrollPaddingTop = `${byId("bar").offsetHeight + 12}px`;
  }).observe(byId("bar"));
}

