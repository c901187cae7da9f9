// The page of suspects, which suspects_page.py writes: a card for each, filters, and an enlarged view.

const SPLIT_NAMES = { train: "training images", val: "validation images", test: "test images" };
const state = {
  hiddenReasons: new Set(),
  split: "", // all images
  order: "worst",
  showsBoxes: true,
};

// ---- head -----------------------------------------------------------------------------------------

function drawHead() {
  byId("about").textContent = data.about;
  byId("note").textContent = data.note;
  for (const { name, number, meaning } of data.reasons) {
    byId("headline").append(
      element(
        "div",
        { class: "card" },
        element("div", { class: "name" }, name),
        element("div", { class: "value" }, number.toLocaleString("en")),
        element("div", { class: "note" }, meaning)
      )
    );
  }
  drawProvenance();
  for (const id of ["samples", "viewer-samples"]) {
    // Labels and detections are drawn last, over the other labels, and named first.
    for (const style of Object.values(data.styles).reverse()) {
      byId(id).append(element("span", { class: "key" }, lineSample(style), ` ${style.meaning}`));
    }
  }
}

// ---- crops ------------------------------------------------------------------------------------------

// The picture of a suspect; its boxes are in pixels of the whole image.
function makeFrame(suspect) {
  const [xmin, ymin, xmax, ymax] = suspect.crop;
  const pixels = element("img", { alt: "", draggable: "false" });
  const viewBox = `${xmin} ${ymin} ${xmax - xmin} ${ymax - ymin}`;
  const svg = svgElement("svg", { viewBox, preserveAspectRatio: "none" });
  const frame = element("div", { class: "frame" }, pixels, svg);
  frame.style.aspectRatio = `${xmax - xmin} / ${ymax - ymin}`;
  return frame;
}

function paintFrame(frame, suspect, lineWidth) {
  const pixels = frame.querySelector("img");
  if (!pixels.src) {
    pixels.src = "data:image/jpeg;base64," + byId("image-" + suspect.index).textContent;
  }
  const groups = Object.entries(data.styles).map(([name, style]) => ({
    name,
    style,
    d: state.showsBoxes ? suspect.boxes[name].map(boxPath).join("") : "",
  }));
  drawLines(frame.querySelector("svg"), groups, lineWidth);
}

// ---- gallery ------------------------------------------------------------------------------------------

const cards = new Map(); // suspect -> { card, frame, button }
let sequence = []; // the suspects of the gallery in their order

function paintCard(suspect) {
  paintFrame(cards.get(suspect).frame, suspect, 2);
}

function splitName(suspect) {
  return SPLIT_NAMES[suspect.split].replace("images", "image");
}

function makeCard(suspect) {
  const frame = makeFrame(suspect);
  const [xmin, ymin, xmax, ymax] = suspect.crop;
  // The button is 4 wide and 3 high.
  const isWide = (xmax - xmin) / (ymax - ymin) >= 4 / 3;
  frame.style[isWide ? "width" : "height"] = "100%";
  const title = `${suspect.index + 1}. ${suspect.reason}`;
  const label = `open ${title}, ${suspect.name}`;
  const button = element("button", { class: "image", type: "button", "aria-label": label }, frame);
  button.addEventListener("click", () => openSuspect(suspect));
  const head = element(
    "div",
    { class: "title" },
    element("b", {}, title),
    element("span", { class: "soft" }, `suspicion ${fixed(suspect.suspicion, 2)}`)
  );
  const caption = element(
    "div",
    { class: "caption" },
    head,
    element("div", { class: "words" }, suspect.words),
    element("div", { class: "name" }, suspect.name),
    element("div", { class: "counts" }, `${splitName(suspect)}${suspect.place ? " · " : ""}${suspect.place}`)
  );
  const card = element("article", { class: "card", "data-name": suspect.name }, button, caption);
  cards.set(suspect, { card, frame, button });
}

const ORDERS = {
  worst: (a, b) => a.index - b.index,
  name: (a, b) => (a.name === b.name ? a.index - b.index : a.name < b.name ? -1 : 1),
};

function arrangeGallery() {
  sequence = data.suspects
    .filter(
      ({ reason, split }) =>
        !state.hiddenReasons.has(reason) && (!state.split || split === state.split)
    )
    .sort(ORDERS[state.order]);
  const focused = document.activeElement;
  byId("gallery").replaceChildren(...sequence.map((suspect) => cards.get(suspect).card));
  if (focused.isConnected && focused !== document.activeElement) {
    focused.focus(); // moving its card took the focus away
  }
  const all = plural(data.suspects.length, "suspect", "suspects");
  byId("gallery-note").textContent =
    sequence.length < data.suspects.length ? `${sequence.length} of ${all}` : all;
}

// ---- one suspect, enlarged ------------------------------------------------------------------------------

const view = { suspect: null, frame: null };

function openSuspect(suspect) {
  view.suspect = suspect;
  view.frame = makeFrame(suspect);
  byId("stage").replaceChildren(view.frame);
  if (!byId("dialog").open) {
    byId("dialog").showModal();
  }
  showView();
}

function showView() {
  const { suspect, frame } = view;
  const [xmin, ymin, xmax, ymax] = suspect.crop;
  const stage = byId("stage").getBoundingClientRect();
  const fit = Math.min(stage.width / (xmax - xmin), stage.height / (ymax - ymin));
  const width = (xmax - xmin) * fit;
  const height = (ymax - ymin) * fit;
  frame.style.width = `${width}px`;
  frame.style.height = `${height}px`;
  frame.style.left = `${(stage.width - width) / 2}px`;
  frame.style.top = `${(stage.height - height) / 2}px`;
  paintFrame(frame, suspect, 3);
  byId("viewer-name").textContent = `${suspect.index + 1}. ${suspect.reason} · ${suspect.name}`;
  byId("viewer-place").textContent = suspect.place;
  byId("tip").textContent = suspect.words;
}

function openNeighbour(step) {
  const place = sequence.indexOf(view.suspect);
  openSuspect(sequence[(place + step + sequence.length) % sequence.length]);
}

function closeViewer() {
  const opened = cards.get(view.suspect);
  view.suspect = null;
  byId("stage").replaceChildren();
  if (opened) {
    opened.button.focus({ preventScroll: true });
    opened.card.scrollIntoView({ block: "nearest" });
  }
}

// ---- controls -------------------------------------------------------------------------------------------

const toggles = []; // { name, button }, of the reasons that some suspect on the page has

function toggleReason({ name, button }) {
  if (state.hiddenReasons.has(name)) {
    state.hiddenReasons.delete(name);
  } else {
    state.hiddenReasons.add(name);
  }
  button.setAttribute("aria-pressed", !state.hiddenReasons.has(name));
  arrangeGallery();
}

function toggleBoxes() {
  state.showsBoxes = !state.showsBoxes;
  byId("show-boxes").setAttribute("aria-pressed", state.showsBoxes);
  data.suspects.forEach(paintCard);
  if (view.suspect) {
    showView();
  }
}

function setUpFilters() {
  for (const { name } of data.reasons) {
    const number = data.suspects.filter(({ reason }) => reason === name).length;
    if (number) {
      const button = element(
        "button",
        { type: "button", "aria-pressed": "true", title: `show or hide "${name}"` },
        element("b", {}, String(number)),
        ` ${name}`
      );
      const toggle = { name, button };
      button.addEventListener("click", () => toggleReason(toggle));
      toggles.push(toggle);
      byId("reasons").append(button);
    }
  }
  const split = byId("split");
  split.append(element("option", { value: "" }, "all images"));
  for (const name of data.splits) {
    split.append(element("option", { value: name }, SPLIT_NAMES[name]));
  }
  split.addEventListener("change", () => {
    state.split = split.value;
    arrangeGallery();
  });
  byId("order").addEventListener("change", () => {
    state.order = byId("order").value;
    arrangeGallery();
  });
  byId("show-boxes").addEventListener("click", toggleBoxes);
}

function setUpViewer() {
  byId("dialog").addEventListener("close", closeViewer);
  byId("previous").addEventListener("click", () => openNeighbour(-1));
  byId("next").addEventListener("click", () => openNeighbour(1));
  byId("close").addEventListener("click", () => byId("dialog").close());
  window.addEventListener("resize", () => {
    if (view.suspect) {
      showView();
    }
  });
}

// What each key does; null for keys that do nothing at the moment.
function keyAction(event) {
  const actions = { b: toggleBoxes };
  if (view.suspect) {
    actions.ArrowLeft = () => openNeighbour(-1);
    actions.ArrowRight = () => openNeighbour(1);
  } else {
    actions.i = () => nextOption(byId("split"));
    actions.o = () => nextOption(byId("order"));
    toggles.forEach((toggle, index) => {
      actions[index + 1] = () => toggleReason(toggle);
    });
  }
  return actions[event.key] || null;
}

setUpPage();
setUpFilters();
setUpViewer();
listenToKeys(keyAction);
drawHead();
// The crops' bytes come after this script.
document.addEventListener("DOMContentLoaded", () => {
  document.documentElement.dataset.ready = "yes";
  data.suspects.forEach(makeCard);
  arrangeGallery();
  data.suspects.forEach(paintCard);
});
