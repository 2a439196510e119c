// Where one looks: the size of the graph and the part of it that is seen, and how the page is laid
// out around it: graphs that are wide on top across the full width, tall ones beside.
import { $, app, calm, held, phone, root } from "./dom.js";
import { palette } from "./values.js";
import { picture, seen } from "./graph.js";

const READABLE = 0.75, EASY = 0.81, LARGEST = 3;  // zoom: letters of 11 points have 14.7 pixels at 1
let zoom = 1, chosen = false, opened = false;

const views = () => $("views");

/** Whether a picture goes on top. */
export function isWide(pic) {
  return pic.width > 1.5 * pic.height;
}

/** The room that all that is seen takes, one below the other. */
function extent() {
  return { width: Math.max(...seen().map((pic) => pic.width)), height: seen().reduce((sum, pic) => sum + pic.height, 0) };
}

/** The width that there is for pictures: beside each of several stands its title. */
const across = () => views().clientWidth - 16 - (document.querySelector(".side")?.getBoundingClientRect().width ?? 0);

/** The zoom at which all is seen, or else the whole width, or else at which it can be read. */
function fitting() {
  const { width, height } = extent(), wide = across() / width;
  const whole = Math.min(wide, (views().clientHeight - 12) / height);
  return Math.min([whole, wide].find((to) => to >= READABLE) ?? EASY, 1.15);
}

/** The width of a tall graph's pane, and the height of a wide one's, where nobody has chosen one:
 * what the picture takes, within what the rest of the page leaves. */
function settle() {
  const pic = extent(), wide = isWide(pic) || Boolean(held.data.sides);
  root.dataset.layout = wide ? "wide" : "tall";
  $("main").style.setProperty("--beside", `${Math.min(root.clientWidth * 0.55, Math.max(root.clientWidth * 0.4, pic.width * EASY + 40))}px`);
  if (chosen || !(wide || phone.matches)) return;
  const scale = Math.min(1.15, Math.max(EASY, across() / pic.width));
  const rest = root.clientHeight - $("main").offsetTop;
  const legend = $("legend").offsetHeight || 28;
  const most = phone.matches ? 0.44 * innerHeight : rest * (held.data.sides ? 0.64 : 0.5);
  const height = Math.min(Math.max(pic.height * scale + 56 + (phone.matches ? 0 : legend), 190), most);
  $("main").style.setProperty("--graph", `${Math.round(height)}px`);
}

/** Draw the picture at a zoom, the point under (x, y) of the pane where it was. */
function zoomTo(to, x = views().clientWidth / 2, y = views().clientHeight / 2) {
  const room = views(), before = zoom;
  zoom = Math.min(LARGEST, Math.max(0.05, to));
  for (const one of seen()) one.svg.style.width = `${one.width * zoom}px`;
  const scale = zoom / before;
  room.scrollTo({ left: (room.scrollLeft + x) * scale - x, top: (room.scrollTop + y) * scale - y, behavior: "instant" });
  minimap();
}

export function resize(by) {
  if (by === "fit") {
    zoomTo(fitting());
    centre(true);
  } else zoomTo(zoom * by);
}

/** Have the current node in sight. */
export function centre(always = false) {
  const pic = picture(), step = held.steps[held.at], room = views();
  const element = (pic?.nodes[step?.node] ?? [])[0];
  if (!element) return;
  const box = element.getBoundingClientRect(), frame = room.getBoundingClientRect();
  const left = room.scrollLeft + box.left + box.width / 2 - frame.left - frame.width / 2;
  const top = room.scrollTop + box.top + box.height / 2 - frame.top - frame.height / 2;
  const far = Math.abs(left - room.scrollLeft) > frame.width;
  const inside = box.left > frame.left + 60 && box.right < frame.right - 60 && box.top > frame.top + 10 && box.bottom < frame.bottom - 10;
  if (inside && opened && !always) return;
  // It glides from step to step, but the page opens where its link points.
  room.scrollTo({ left, top, behavior: calm.matches || far || !opened ? "instant" : "smooth" });
  opened = true;
}

// The map of a graph that is larger than its pane

let drawn = null;  // the boxes of the picture that the map shows

function minimap() {
  const pic = picture(), room = views(), map = $("minimap");
  const large = pic && !held.data.sides && (pic.width * zoom > room.clientWidth * 1.25 || pic.height * zoom > room.clientHeight * 1.25);
  map.hidden = !large;
  if (!large) return;
  const scale = Math.min(180 / pic.width, 90 / pic.height);
  const [w, h] = [Math.max(24, Math.round(pic.width * scale)), Math.max(12, Math.round(pic.height * scale))];
  const colours = palette().css;
  if (drawn?.pic !== pic || drawn.theme !== root.dataset.theme) {
    map.width = w * 2;
    map.height = h * 2;
    map.style.width = `${w}px`;
    map.style.height = `${h}px`;
    const still = document.createElement("canvas");
    still.width = map.width;
    still.height = map.height;
    const pen = still.getContext("2d"), frame = pic.svg.getBoundingClientRect();
    pen.fillStyle = colours.ink;
    pen.globalAlpha = 0.45;
    for (const element of pic.nodeOf.keys()) {
      const box = element.getBoundingClientRect(), k = (2 * w) / frame.width;
      pen.fillRect((box.left - frame.left) * k, (box.top - frame.top) * k, Math.max(1.5, box.width * k), Math.max(1.5, box.height * k));
    }
    drawn = { pic, still, theme: root.dataset.theme };
  }
  const pen = map.getContext("2d"), k = (2 * w) / (pic.width * zoom);
  pen.clearRect(0, 0, map.width, map.height);
  pen.drawImage(drawn.still, 0, 0);
  pen.strokeStyle = colours.ink;
  pen.lineWidth = 2;
  pen.strokeRect(room.scrollLeft * k + 1, room.scrollTop * k + 1, Math.min(map.width, room.clientWidth * k) - 2, Math.min(map.height, room.clientHeight * k) - 2);
}

function moveOnMap(event) {
  const map = $("minimap"), box = map.getBoundingClientRect(), pic = picture(), room = views();
  room.scrollTo({
    left: (event.clientX - box.left) / box.width * pic.width * zoom - room.clientWidth / 2,
    top: (event.clientY - box.top) / box.height * pic.height * zoom - room.clientHeight / 2, behavior: "instant",
  });
}

// Dragging and pinching

function listenToPointers() {
  const room = views(), map = $("minimap");
  let from = null, moved = false;
  room.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button !== 0) return;  // a finger scrolls by itself
    from = { x: event.clientX, y: event.clientY, left: room.scrollLeft, top: room.scrollTop };
    moved = false;
  });
  addEventListener("pointermove", (event) => {
    if (!from) return;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (!moved && Math.hypot(dx, dy) < 4) return;
    moved = true;
    room.classList.add("dragged");
    room.scrollTo({ left: from.left - dx, top: from.top - dy, behavior: "instant" });
  });
  addEventListener("pointerup", () => {
    from = null;
    room.classList.remove("dragged");
  });
  room.addEventListener("click", (event) => {
    if (moved) event.stopPropagation();  // that was no click on what lies there
    moved = false;
  }, true);
  room.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = room.getBoundingClientRect();
    zoomTo(zoom * Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  room.addEventListener("scroll", minimap, { passive: true });
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    moveOnMap(event);
    map.onpointermove = moveOnMap;
  });
  map.addEventListener("pointerup", () => { map.onpointermove = null; });
  grip("grip-graph", "--graph", "height", () => document.querySelector(".pane.graph"), 1);
  grip("grip-source", "--source", "width", () => document.querySelector(".pane.source"), 1);
  grip("grip-paths", "--paths", "width", () => document.querySelector(".pane.paths"), -1);
  addEventListener("resize", refit);
}

/** A border between panes that can be moved, with the pointer or with arrow keys. */
function grip(id, name, side, pane, sign) {
  const element = $(id), vertical = side === "height";
  const set = (pixels) => {
    const whole = vertical ? root.clientHeight : root.clientWidth;
    const size = Math.round(Math.min(Math.max(pixels, 90), whole * 0.85));
    if (vertical) chosen = true;
    $("main").style.setProperty(name, `${size}px`);
    element.setAttribute("aria-valuenow", String(Math.round(100 * size / whole)));
    refit();
  };
  element.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    const start = vertical ? event.clientY : event.clientX, size = pane().getBoundingClientRect()[side];
    element.onpointermove = (move) => set(size + sign * ((vertical ? move.clientY : move.clientX) - start));
  });
  element.addEventListener("pointerup", () => { element.onpointermove = null; });
  element.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    set(pane().getBoundingClientRect()[side] + sign * step * 24);
  });
}

/** After the room has changed. */
export function refit() {
  settle();
  zoomTo(fitting());
  centre(true);
}

export function startCamera() {
  listenToPointers();
  refit();
}

app.on(["view", "hidden"], (_, changed) => { if (opened || changed.has("hidden")) refit(); });
app.on(["at"], () => { if (opened) centre(); });
app.on(["theme"], () => { if (opened) minimap(); });
