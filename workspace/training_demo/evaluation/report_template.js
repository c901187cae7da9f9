// The evaluation report. report.py writes the data; each detection is already matched (its kind is
// an index into data.kinds). This script applies the score threshold, counts what is kept, and draws.

const TRUE_POSITIVE = 0; // index into data.kinds
const state = {
  threshold: data.threshold,
  group: "", // all groups
  order: "worst",
  shown: { tp: true, fn: true, fp: true },
  zoomedCurve: true,
};

// ---- counting -----------------------------------------------------------------------------------

// Scores fall, so the detections above a threshold are the first ones of an image.
// truePositivesBefore[n] is the number of true positives among the first n.
for (const image of data.images) {
  image.truePositivesBefore = [0];
  let truePositives = 0;
  for (const kind of image.kinds) {
    truePositives += kind === TRUE_POSITIVE ? 1 : 0;
    image.truePositivesBefore.push(truePositives);
  }
}

// How many of the falling scores are at least the threshold, by bisection.
function countAbove(scores, threshold) {
  let low = 0;
  let high = scores.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (scores[middle] >= threshold) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

function countImage(image, threshold) {
  const detections = countAbove(image.scores, threshold);
  const tp = image.truePositivesBefore[detections];
  return { detections, truths: image.truths, tp, fp: detections - tp, fn: image.truths - tp };
}

function imagesOfGroup() {
  return data.images.filter((image) => !state.group || image.group === state.group);
}

// The same figures as metrics.py's, of some images at a threshold.
function computeFigures(images, threshold) {
  let detections = 0;
  let truths = 0;
  let tp = 0;
  let absoluteError = 0;
  const kinds = data.kinds.map(() => 0);
  for (const image of images) {
    const counts = countImage(image, threshold);
    detections += counts.detections;
    truths += counts.truths;
    tp += counts.tp;
    absoluteError += Math.abs(counts.detections - counts.truths);
    for (const kind of image.kinds.slice(0, counts.detections)) {
      kinds[kind] += 1;
    }
  }
  return {
    images: images.length,
    detections,
    truths,
    kinds,
    tp,
    fp: detections - tp,
    fn: truths - tp,
    precision: tp / detections,
    recall: tp / truths,
    f1: (2 * tp) / (detections + truths),
    mean_absolute_count_error: absoluteError / images.length,
  };
}

// ---- headline and tables, which do not depend on the threshold ------------------------------------

function drawHeadline() {
  byId("about").textContent = data.about;
  byId("headline-note").textContent =
    "Under each figure: its 95 % interval. Precision, recall and count MAE are at the score threshold " +
    `${fixed(data.threshold, 3)}, ${data.thresholdOrigin}.`;
  for (const figure of data.headline) {
    byId("headline").append(
      element(
        "div",
        { class: "card" },
        element("div", { class: "name" }, figure.name),
        element("div", { class: "value" }, figure.value),
        element("div", { class: "interval" }, figure.interval),
        element("div", { class: "note" }, figure.note)
      )
    );
  }
  drawProvenance();
}

function tableRow(cells) {
  const [first, ...rest] = cells;
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, first),
    ...rest.map((cell) => element("td", {}, cell))
  );
}

function drawTables() {
  byId("tables-title").hidden = !data.tables.length;
  for (const table of data.tables) {
    const header = table.columns.map((column) => element("th", { scope: "col" }, column));
    const head = element("thead", {}, element("tr", {}, ...header));
    const body = element("tbody", {}, ...table.rows.map(tableRow));
    byId("tables").append(
      element(
        "div",
        { class: "card" },
        element("h3", {}, table.title),
        element("div", { class: "scroll" }, element("table", {}, head, body)),
        element("p", { class: "soft" }, table.note)
      )
    );
  }
}

// ---- charts ---------------------------------------------------------------------------------------

// The plot's area in a chart, in units of its viewBox.
const CHART = { width: 430, height: 310, left: 54, right: 418, top: 10, bottom: 270 };

function axisTicks(axis) {
  // A little is added because steps such as 0.1 do not sum exactly.
  const count = Math.floor((axis.high - axis.low) / axis.step + 1e-6) + 1;
  return Array.from({ length: count }, (_, index) => axis.low + index * axis.step);
}

function niceStep(span) {
  const rough = span / 6;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

// Draws the axes of a chart. x and y are { low, high, step, digits, name }.
function drawChart(place, label, x, y) {
  const { width, height, left, right, top, bottom } = CHART;
  const svg = svgElement("svg", {
    viewBox: `0 0 ${width} ${height}`,
    class: "chart",
    role: "img",
    "aria-label": label,
  });
  const toX = (value) => left + ((value - x.low) / (x.high - x.low)) * (right - left);
  const toY = (value) => bottom - ((value - y.low) / (y.high - y.low)) * (bottom - top);
  for (const value of axisTicks(x)) {
    const place = { x: toX(value), y: bottom + 16, "text-anchor": "middle" };
    svg.append(
      svgElement("path", { class: "grid", d: `M${toX(value)} ${top}V${bottom}` }),
      svgElement("text", place, value.toFixed(x.digits))
    );
  }
  for (const value of axisTicks(y)) {
    const place = { x: left - 7, y: toY(value) + 4, "text-anchor": "end" };
    svg.append(
      svgElement("path", { class: "grid", d: `M${left} ${toY(value)}H${right}` }),
      svgElement("text", place, value.toFixed(y.digits))
    );
  }
  const middleX = (left + right) / 2;
  const middleY = (top + bottom) / 2;
  svg.append(
    svgElement("text", { x: middleX, y: height - 6, "text-anchor": "middle" }, x.name),
    svgElement(
      "text",
      { x: 12, y: middleY, "text-anchor": "middle", transform: `rotate(-90 12 ${middleY})` },
      y.name
    )
  );
  place.replaceChildren(svg);
  return { svg, toX, toY };
}

function linePath(chart, points) {
  const places = points.map(([x, y]) => `${chart.toX(x).toFixed(1)} ${chart.toY(y).toFixed(1)}`);
  return places.length ? `M${places.join("L")}` : "";
}

// [recall, precision] at each score that some detection has, by falling score.
function precisionRecallPoints(images) {
  const truths = images.reduce((sum, image) => sum + image.truths, 0);
  const detections = [];
  for (const image of images) {
    image.scores.forEach((score, index) => {
      detections.push({ score, isTruePositive: image.kinds[index] === TRUE_POSITIVE });
    });
  }
  detections.sort((a, b) => b.score - a.score);
  const points = [];
  let truePositives = 0;
  detections.forEach(({ score, isTruePositive }, index) => {
    truePositives += isTruePositive ? 1 : 0;
    // A threshold keeps or drops equal scores together.
    const next = detections[index + 1];
    if (truths && (!next || next.score < score)) {
      points.push([truePositives / truths, truePositives / (index + 1)]);
    }
  });
  return points;
}

// Where the axes of the zoomed curve start: below the chosen threshold's point and the slider's.
function zoomedLow(images) {
  let low = 0.9;
  for (const threshold of [data.threshold, state.threshold]) {
    const { recall, precision } = computeFigures(images, threshold);
    const lower = Math.min(recall || 0, Number.isFinite(precision) ? precision : 1);
    low = Math.min(low, Math.floor(10 * lower - 0.5) / 10);
  }
  return Math.max(0, low);
}

let curve = null; // the precision-recall chart, with the dot that follows the threshold

function drawCurve() {
  const images = imagesOfGroup();
  const low = state.zoomedCurve ? zoomedLow(images) : 0;
  const axis = { low, high: 1, step: niceStep(1 - low), digits: low > 0.85 ? 2 : 1 };
  curve = drawChart(
    byId("curve"),
    "precision against recall",
    { ...axis, name: "recall: share of products found" },
    { ...axis, name: "precision: share of correct detections" }
  );
  curve.low = low;
  const clip = svgElement("clipPath", { id: "plot-area" });
  clip.append(
    svgElement("rect", {
      x: CHART.left - 1,
      y: CHART.top - 3,
      width: CHART.right - CHART.left + 4,
      height: CHART.bottom - CHART.top + 4,
    })
  );
  const d = linePath(curve, precisionRecallPoints(images));
  curve.svg.append(clip, svgElement("path", { class: "curve", "clip-path": "url(#plot-area)", d }));
  const chosen = computeFigures(images, data.threshold);
  if (chosen.detections && chosen.truths) {
    const place = { cx: curve.toX(chosen.recall), cy: curve.toY(chosen.precision) };
    curve.svg.append(svgElement("circle", { class: "ring", r: 8, ...place }));
  }
  curve.dot = svgElement("circle", { class: "dot", r: 5 });
  curve.svg.append(curve.dot);
}

function moveDot(figures) {
  const isDefined = figures.detections > 0 && figures.truths > 0;
  const isOutside = Math.min(figures.recall, figures.precision) < curve.low;
  if (isDefined && state.zoomedCurve && isOutside) {
    drawCurve();
  }
  curve.dot.style.display = isDefined ? "" : "none";
  if (isDefined) {
    curve.dot.setAttribute("cx", curve.toX(figures.recall));
    curve.dot.setAttribute("cy", curve.toY(figures.precision));
  }
}

// An axis from 0 that holds all counts.
function countAxis(counts) {
  const most = Math.max(5, ...counts);
  const step = niceStep(most);
  return { low: 0, high: Math.ceil(most / step) * step, step, digits: 0 };
}

function drawCountChart() {
  const counted = imagesOfGroup().map((image) => [image, countImage(image, state.threshold)]);
  const labelledAxis = countAxis(counted.map(([, { truths }]) => truths));
  // At a low threshold there are many times as many detections as products: an axis of their own.
  const detectedAxis = countAxis(counted.flatMap(([, { truths, detections }]) => [truths, detections]));
  const chart = drawChart(
    byId("counts"),
    "detected products against labelled products, a point an image",
    { ...labelledAxis, name: "labelled products" },
    { ...detectedAxis, name: "detected products" }
  );
  const equal = Math.min(labelledAxis.high, detectedAxis.high);
  const diagonal = [
    [0, 0],
    [equal, equal],
  ];
  chart.svg.append(svgElement("path", { class: "reference", d: linePath(chart, diagonal) }));
  for (const [image, { truths, detections }] of counted) {
    const place = { cx: chart.toX(truths), cy: chart.toY(detections) };
    const dot = svgElement("circle", { class: "image-dot", r: 4.5, ...place });
    const text = `${image.name}: ${detections} detected, ${truths} labelled`;
    dot.append(svgElement("title", {}, text));
    dot.addEventListener("click", () => openImage(image));
    chart.svg.append(dot);
  }
}

function drawCoverage() {
  if (!data.coverage) {
    byId("coverage").parentElement.hidden = true;
    return;
  }
  const { iou, share, note } = data.coverage;
  const chart = drawChart(
    byId("coverage"),
    "share of the products that some anchor covers, by IoU",
    {
      low: iou[0],
      high: iou[iou.length - 1],
      step: 0.1,
      digits: 1,
      name: "least IoU of a product with its best anchor",
    },
    { low: 0, high: 1, step: 0.2, digits: 1, name: "share of the products" }
  );
  const points = iou.map((value, index) => [value, share[index]]);
  const half = iou.findIndex((value) => Math.abs(value - 0.5) < 1e-9);
  chart.svg.append(
    svgElement("path", { class: "curve", d: linePath(chart, points) }),
    svgElement("circle", { class: "dot", r: 5, cx: chart.toX(0.5), cy: chart.toY(share[half]) })
  );
  byId("coverage-note").textContent = note;
}

// ---- boxes on images --------------------------------------------------------------------------------

// The boxes to draw on an image: list of { group: "tp", "fn" or "fp", box: xyxy, index }.
function visibleBoxes(image) {
  const boxes = [];
  const { detections } = countImage(image, state.threshold);
  for (let index = 0; index < detections; index++) {
    const group = image.kinds[index] === TRUE_POSITIVE ? "tp" : "fp";
    boxes.push({ group, box: image.boxes[index], index });
  }
  image.truthBoxes.forEach((box, index) => {
    const score = image.truthScores[index];
    if (score === null || score < state.threshold) {
      boxes.push({ group: "fn", box, index });
    }
  });
  return boxes.filter(({ group }) => state.shown[group]);
}

function makeFrame(image) {
  const pixels = element("img", { alt: "", draggable: "false" });
  const viewBox = `0 0 ${image.width} ${image.height}`;
  const svg = svgElement("svg", { viewBox, preserveAspectRatio: "none" });
  return element("div", { class: "frame" }, pixels, svg);
}

// Draws an image's boxes in its frame. lineWidth is in pixels of the screen.
function paintFrame(frame, image, lineWidth) {
  const pixels = frame.querySelector("img");
  if (!pixels.src) {
    pixels.src = "data:image/jpeg;base64," + byId("image-" + image.index).textContent;
  }
  const paths = { tp: "", fn: "", fp: "" };
  for (const { group, box } of visibleBoxes(image)) {
    paths[group] += boxPath(box);
  }
  const groups = Object.entries(paths).map(([name, d]) => ({ name, d, style: data.styles[name] }));
  drawLines(frame.querySelector("svg"), groups, lineWidth);
}

// ---- gallery ------------------------------------------------------------------------------------------

const cards = new Map(); // image -> { card, frame, counts, button }
const imagesInSight = new Set();
let sequence = []; // the images of the gallery in their order

function galleryLineWidth(frame) {
  return Math.min(2.2, Math.max(1.3, frame.clientWidth / 220));
}

function paintCard(image) {
  const { frame } = cards.get(image);
  paintFrame(frame, image, galleryLineWidth(frame));
}

// Only images near the window are painted again: a page may hold hundreds.
const sightObserver = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const image = entry.target.image;
      if (entry.isIntersecting) {
        imagesInSight.add(image);
        paintCard(image);
      } else {
        imagesInSight.delete(image);
      }
    }
  },
  { rootMargin: "500px" }
);

function makeCard(image) {
  const frame = makeFrame(image);
  frame.image = image;
  frame.style.aspectRatio = `${image.width} / ${image.height}`;
  // The button is 4 wide and 3 high.
  const isWide = image.width / image.height > 4 / 3;
  frame.style[isWide ? "width" : "height"] = "100%";
  const label = `open ${image.name}`;
  const button = element("button", { class: "image", type: "button", "aria-label": label }, frame);
  button.addEventListener("click", () => openImage(image));
  const name = element("div", { class: "name" }, image.name);
  const counts = element("div", { class: "counts" });
  const caption = element("div", { class: "caption" }, name, counts);
  const card = element("article", { class: "card", "data-name": image.name }, button, caption);
  cards.set(image, { card, frame, counts, button });
  sightObserver.observe(frame);
}

// "30 of 32 products found · 2 false negatives · 1 false positive", with the errors in bold.
function describeCounts(image) {
  const { tp, fn, fp, truths } = countImage(image, state.threshold);
  const nodes = [`${tp} of ${plural(truths, "product", "products")} found`];
  if (fn) {
    nodes.push(" · ", element("b", {}, plural(fn, "false negative", "false negatives")));
  }
  if (fp) {
    nodes.push(" · ", element("b", {}, plural(fp, "false positive", "false positives")));
  }
  return nodes;
}

function countErrors(image) {
  const { fn, fp } = countImage(image, state.threshold);
  return fn + fp;
}

function compareNames(a, b) {
  return a.name < b.name ? -1 : 1;
}

const ORDERS = {
  worst: {
    compare: (a, b) => countErrors(b) - countErrors(a) || compareNames(a, b),
    text: "most errors first",
  },
  best: {
    compare: (a, b) => countErrors(a) - countErrors(b) || compareNames(a, b),
    text: "fewest errors first",
  },
  name: { compare: compareNames, text: "by name" },
};

function arrangeGallery() {
  const images = imagesOfGroup();
  const order = ORDERS[state.order];
  sequence = images.filter((image) => image.embedded).sort(order.compare);
  const added = sequence.filter((image) => !cards.has(image));
  added.forEach(makeCard);
  const focused = document.activeElement;
  byId("gallery").replaceChildren(...sequence.map((image) => cards.get(image).card));
  // At once, so that the page is complete when it has loaded: for a screenshot or a print of it.
  added.forEach(paintCard);
  if (focused.isConnected && focused !== document.activeElement) {
    focused.focus(); // moving its card took the focus away
  }
  let what = plural(images.length, "image", "images");
  if (sequence.length < images.length) {
    what = `The ${sequence.length} images with the most errors, of ${images.length}`;
  }
  byId("gallery-note").textContent =
    `${what}, ${order.text}. Click an image to enlarge it. ` +
    "Detections of products that are not labelled count as false positives.";
}

// ---- figures at the threshold ---------------------------------------------------------------------------

const LIVE_FIGURES = [
  { key: "precision", name: "precision", digits: 3 },
  { key: "recall", name: "recall", digits: 3 },
  { key: "f1", name: "F1", digits: 3 },
  { key: "mean_absolute_count_error", name: "count MAE", digits: 2 },
];
const GROUPS = [
  { key: "tp", short: "TP", long: "true positives" },
  { key: "fn", short: "FN", long: "false negatives" },
  { key: "fp", short: "FP", long: "false positives" },
];

// A button that shows or hides the boxes of a group.
function groupButton(group, attributes, ...number) {
  const button = element(
    "button",
    {
      type: "button",
      "data-toggle": group.key,
      "aria-pressed": "true",
      "aria-label": group.long,
      title: `show or hide ${group.long}`,
      ...attributes,
    },
    lineSample(data.styles[group.key]),
    " ",
    ...number,
    element("span", { class: "wide-only" }, group.long),
    element("span", { class: "narrow-only" }, group.short)
  );
  button.addEventListener("click", () => toggleGroup(group.key));
  return button;
}

function makeLiveFigures() {
  for (const { key, name } of LIVE_FIGURES) {
    byId("live").append(element("span", {}, `${name} `, element("b", { "data-figure": key })));
  }
  const buttons = GROUPS.map((group) =>
    groupButton(group, { id: `show-${group.key}` }, element("b", { "data-figure": group.key }), " ")
  );
  byId("live").append(element("span", { class: "toggles" }, ...buttons));
  byId("legend").append(...GROUPS.map((group) => groupButton(group, {})));
}

function showFigure(key, value, digits) {
  const place = document.querySelector(`[data-figure=${key}]`);
  place.textContent = fixed(value, digits);
  place.dataset.value = value; // with all digits, for programs that read the page
}

function showFigures(figures) {
  for (const { key, digits } of LIVE_FIGURES) {
    showFigure(key, figures[key], digits);
  }
  for (const { key, long } of GROUPS) {
    showFigure(key, figures[key], 0);
    byId(`show-${key}`).setAttribute("aria-label", `${figures[key]} ${long}`);
  }
  const kinds = [];
  figures.kinds.forEach((count, kind) => {
    if (kind !== TRUE_POSITIVE && count) {
      kinds.push(`${count} ${data.kinds[kind]}`);
    }
  });
  byId("kinds").textContent = kinds.length
    ? `False positives at this threshold: ${kinds.join(", ")}.`
    : "";
  byId("curve-note").textContent =
    `Ring: the threshold ${fixed(data.threshold, 3)}, ${data.thresholdOrigin}. ` +
    "Dot: the slider's threshold." +
    (figures.detections ? "" : " No detection reaches it, so there is no dot.");
}

let isRefreshPending = false;

// Shows everything that depends on the threshold: figures at once, drawings at most once a frame.
function refresh() {
  for (const id of ["threshold", "viewer-threshold"]) {
    byId(id).value = state.threshold;
  }
  if (document.activeElement !== byId("exact")) {
    byId("exact").value = Number(state.threshold.toFixed(6));
  }
  byId("viewer-value").textContent = fixed(state.threshold, 3);
  const figures = computeFigures(imagesOfGroup(), state.threshold);
  showFigures(figures);
  if (isRefreshPending) {
    return;
  }
  isRefreshPending = true;
  requestAnimationFrame(() => {
    isRefreshPending = false;
    moveDot(computeFigures(imagesOfGroup(), state.threshold));
    drawCountChart();
    for (const [image, { counts }] of cards) {
      counts.replaceChildren(...describeCounts(image));
    }
    imagesInSight.forEach(paintCard);
    if (view.image) {
      showView();
    }
  });
}

function setThreshold(threshold) {
  if (Number.isFinite(threshold)) {
    const [low, high] = data.range;
    state.threshold = Math.min(high, Math.max(low, threshold));
    refresh();
  }
}

// Called when a slider is let go, and not while it moves: the images would jump.
function rearrangeByErrors() {
  if (state.order !== "name") {
    arrangeGallery();
    refresh();
  }
}

// ---- one image, enlarged --------------------------------------------------------------------------------

const MOST_ZOOM = 12;
const view = { image: null, frame: null, scale: 1, x: 0, y: 0 }; // x, y: offset from the centre

function openImage(image) {
  if (!image.embedded) {
    return;
  }
  view.image = image;
  view.frame = makeFrame(image);
  byId("stage").replaceChildren(view.frame);
  if (!byId("dialog").open) {
    byId("dialog").showModal();
  }
  showWhole();
  byId("tip").textContent = "Point at a box, or tap it, for its score and IoU.";
}

function showWhole() {
  view.scale = 1;
  view.x = 0;
  view.y = 0;
  showView();
}

function stageArea() {
  return byId("stage").getBoundingClientRect();
}

// The offset that leaves no empty margin where the image is larger than the stage.
function limitOffset(offset, size, room) {
  const most = Math.max(0, (size - room) / 2);
  return Math.min(most, Math.max(-most, offset));
}

function showView() {
  const { image, frame } = view;
  const stage = stageArea();
  const fit = Math.min(stage.width / image.width, stage.height / image.height);
  const width = image.width * fit * view.scale;
  const height = image.height * fit * view.scale;
  view.x = limitOffset(view.x, width, stage.width);
  view.y = limitOffset(view.y, height, stage.height);
  frame.style.width = `${width}px`;
  frame.style.height = `${height}px`;
  frame.style.left = `${(stage.width - width) / 2 + view.x}px`;
  frame.style.top = `${(stage.height - height) / 2 + view.y}px`;
  paintFrame(frame, image, 2.4);
  byId("viewer-name").textContent = image.name;
  byId("viewer-counts").replaceChildren(...describeCounts(image));
}

// Zooms; the point (x, y) of the stage, by default its centre, keeps its place.
function zoom(factor, x, y) {
  const stage = stageArea();
  const fromCentreX = x === undefined ? 0 : x - stage.width / 2;
  const fromCentreY = y === undefined ? 0 : y - stage.height / 2;
  const scale = Math.min(MOST_ZOOM, Math.max(1, view.scale * factor));
  view.x = fromCentreX - ((fromCentreX - view.x) * scale) / view.scale;
  view.y = fromCentreY - ((fromCentreY - view.y) * scale) / view.scale;
  view.scale = scale;
  showView();
}

function openNeighbour(step) {
  const place = sequence.indexOf(view.image);
  openImage(sequence[(place + step + sequence.length) % sequence.length]);
}

// The smallest box under a point of the window, or undefined.
function boxAt(clientX, clientY) {
  const area = view.frame.getBoundingClientRect();
  const x = ((clientX - area.left) / area.width) * view.image.width;
  const y = ((clientY - area.top) / area.height) * view.image.height;
  const size = ({ box: [xmin, ymin, xmax, ymax] }) => (xmax - xmin) * (ymax - ymin);
  const under = visibleBoxes(view.image).filter(
    ({ box: [xmin, ymin, xmax, ymax] }) => x >= xmin && x <= xmax && y >= ymin && y <= ymax
  );
  return under.sort((a, b) => size(a) - size(b))[0];
}

// " of the class tea", where there are several.
function className(classes, index) {
  return data.classes.length ? ` of the class ${data.classes[classes[index]]}` : "";
}

function describeBox({ group, index }) {
  const image = view.image;
  if (group === "fn") {
    const score = image.truthScores[index];
    const name = `False negative${className(image.truthClasses, index)}`;
    return score === null
      ? `${name}: not detected at any threshold`
      : `${name}: detected with score ${fixed(score, 3)}, below the threshold`;
  }
  const kind = data.kinds[image.kinds[index]];
  const name = group === "tp" ? "True positive" : `False positive (${kind})`;
  const score = fixed(image.scores[index], 3);
  return `${name}${className(image.classes, index)}: score ${score}, IoU ${fixed(image.ious[index], 2)} with the nearest product`;
}

function showTip(event) {
  const found = boxAt(event.clientX, event.clientY);
  if (found) {
    byId("tip").textContent = describeBox(found);
  }
}

// ---- dragging and zooming with mouse, wheel and fingers ------------------------------------------------

const pointers = new Map(); // pointerId -> its last event

function pointerDown(event) {
  showTip(event);
  pointers.set(event.pointerId, event);
  byId("stage").setPointerCapture(event.pointerId);
}

function pointerUp(event) {
  pointers.delete(event.pointerId);
}

function pointerMove(event) {
  const last = pointers.get(event.pointerId);
  if (!last) {
    showTip(event);
    return;
  }
  const other = [...pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
  if (other) {
    pinch(last, event, other);
  } else {
    view.x += event.clientX - last.clientX;
    view.y += event.clientY - last.clientY;
    showView();
  }
  pointers.set(event.pointerId, event);
}

// Zooms by how much farther two fingers are apart, around the point between them.
function pinch(last, event, other) {
  const distance = (from) => Math.hypot(from.clientX - other.clientX, from.clientY - other.clientY);
  const area = stageArea();
  const x = (event.clientX + other.clientX) / 2 - area.left;
  const y = (event.clientY + other.clientY) / 2 - area.top;
  zoom(distance(event) / Math.max(distance(last), 1), x, y);
}

function turnWheel(event) {
  event.preventDefault();
  const area = stageArea();
  zoom(Math.exp(-event.deltaY / 400), event.clientX - area.left, event.clientY - area.top);
}

function closeViewer() {
  const opened = cards.get(view.image);
  view.image = null;
  pointers.clear();
  byId("stage").replaceChildren();
  if (opened) {
    opened.button.focus({ preventScroll: true });
    opened.card.scrollIntoView({ block: "nearest" });
  }
}

function setUpViewer() {
  const stage = byId("stage");
  stage.addEventListener("pointerdown", pointerDown);
  stage.addEventListener("pointerup", pointerUp);
  stage.addEventListener("pointercancel", pointerUp);
  stage.addEventListener("pointermove", pointerMove);
  stage.addEventListener("wheel", turnWheel, { passive: false });
  byId("dialog").addEventListener("close", closeViewer);
  byId("previous").addEventListener("click", () => openNeighbour(-1));
  byId("next").addEventListener("click", () => openNeighbour(1));
  byId("zoom-in").addEventListener("click", () => zoom(1.5));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  byId("whole").addEventListener("click", showWhole);
  byId("close").addEventListener("click", () => byId("dialog").close());
  window.addEventListener("resize", () => {
    if (view.image) {
      showView();
    }
  });
}

// ---- controls -------------------------------------------------------------------------------------------

function toggleGroup(group) {
  state.shown[group] = !state.shown[group];
  for (const button of document.querySelectorAll(`[data-toggle=${group}]`)) {
    button.setAttribute("aria-pressed", state.shown[group]);
  }
  refresh();
}

function resetThreshold() {
  setThreshold(data.threshold);
  rearrangeByErrors();
}

function setUpThreshold() {
  const [low, high] = data.range;
  for (const id of ["threshold", "viewer-threshold"]) {
    const slider = byId(id);
    Object.assign(slider, { min: low, max: high, step: (high - low) / 1000 });
    slider.addEventListener("input", () => setThreshold(Number(slider.value)));
    slider.addEventListener("change", rearrangeByErrors);
  }
  const exact = byId("exact");
  exact.addEventListener("input", () => {
    if (exact.value !== "") {
      setThreshold(Number(exact.value));
    }
  });
  exact.addEventListener("blur", refresh);
  exact.addEventListener("change", rearrangeByErrors);
  const reset = byId("reset");
  const value = element("span", { class: "wide-only" }, ` to ${fixed(data.threshold, 3)}`);
  reset.append("Reset", value);
  reset.addEventListener("click", resetThreshold);
}

function setUpFilters() {
  const group = byId("group");
  group.setAttribute("aria-label", data.dimension);
  byId("dimension").textContent = data.dimension;
  group.append(element("option", { value: "" }, "all"));
  for (const name of data.groups) {
    group.append(element("option", { value: name }, name));
  }
  group.parentElement.hidden = data.groups.length < 2; // one is no choice
  group.addEventListener("change", () => {
    state.group = group.value;
    arrangeGallery();
    drawCurve();
    refresh();
  });
  byId("order").addEventListener("change", () => {
    state.order = byId("order").value;
    arrangeGallery();
    refresh();
  });
  byId("zoom-curve").addEventListener("click", () => {
    state.zoomedCurve = !state.zoomedCurve;
    byId("zoom-curve").textContent = state.zoomedCurve ? "Show all" : "Zoom in";
    drawCurve();
    refresh();
  });
}

// What each key does; null for keys that do nothing at the moment.
function keyAction(event) {
  const [low, high] = data.range;
  const step = (high - low) / 100;
  const actions = {
    "[": () => setThreshold(state.threshold - step),
    "]": () => setThreshold(state.threshold + step),
    "{": () => setThreshold(state.threshold - 10 * step),
    "}": () => setThreshold(state.threshold + 10 * step),
    r: () => setThreshold(data.threshold),
    t: () => toggleGroup("tp"),
    n: () => toggleGroup("fn"),
    p: () => toggleGroup("fp"),
  };
  if (view.image) {
    actions["+"] = () => zoom(1.5);
    actions["="] = actions["+"]; // the same key without Shift
    actions["-"] = () => zoom(1 / 1.5);
    actions["0"] = showWhole;
    if (!event.target.matches("input[type=range]")) {
      actions.ArrowLeft = () => openNeighbour(-1);
      actions.ArrowRight = () => openNeighbour(1);
    }
  } else {
    actions.g = () => nextOption(byId("group"));
    actions.o = () => nextOption(byId("order"));
  }
  return actions[event.key] || null;
}

function keyUp(event) {
  if ("[]{}r".includes(event.key) && !isTyping(event)) {
    rearrangeByErrors();
  }
}

function setUp() {
  setUpPage();
  setUpThreshold();
  setUpFilters();
  setUpViewer();
  listenToKeys(keyAction);
  document.addEventListener("keyup", keyUp);
  // Boxes out of sight may be those of an earlier threshold.
  window.addEventListener("beforeprint", () => sequence.forEach(paintCard));
}

setUp();
makeLiveFigures();
drawHeadline();
drawTables();
drawCoverage();
drawCurve();
refresh();
// The images' bytes come after this script. Everything above needs none of them, so that the figures
// appear at once.
document.addEventListener("DOMContentLoaded", () => {
  document.documentElement.dataset.ready = "yes";
  arrangeGallery();
  refresh();
});
