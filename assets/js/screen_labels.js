// Where labels go. All lengths are CSS pixels; nothing here touches the page.
//
// Each item is {x, y, r, width, height, targets}: the mark's point, the radius of its shape, its label's size, and its
// targets, points {x, y, r} that no label should hide (both ends of a drag). Returned are the labels' centres, in order.
// A label stays in the frame and off earlier labels; it keeps off whole shapes where it can, else off their very points.
const placeLabels = (items, frame) => {
  const GAP = 2;
  const POINT = 4;
  const STEP = 6;
  const ANGLES = [-45, -135, 45, 135, -90, 90, 0, 180, -20, -160, 20, 160, -65, -115, 65, 115];
  const CLOSE = [0, 6, 14, 24];
  const FARTHER = [36, 50, 66, 84, 104, 128];
  const SLIDES = [0, -0.3, 0.3];
  const placed = [];

  const spotsAround = function* (item, distances) {
    for (const far of distances) {
      for (const degrees of ANGLES) {
        const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
        const room = item.r + GAP + far;
        // the label's nearest corner, or the middle of its nearest side, lies on the circle around the mark
        const [right, down] = degrees % 90 ? [Math.sign(cos), Math.sign(sin)] : [Math.round(cos), Math.round(sin)];
        const spot = { x: item.x + cos * room + (right * item.width) / 2, y: item.y + sin * room + (down * item.height) / 2 };
        yield* right ? [spot] : SLIDES.map((share) => ({ x: spot.x + share * item.width, y: spot.y }));
      }
    }
  };
  const anywhere = (item) => {
    const spots = [];
    for (let x = item.width / 2 + 1; x <= frame.width - item.width / 2 - 1; x += STEP) {
      for (let y = item.height / 2 + 1; y <= frame.height - item.height / 2 - 1; y += STEP) spots.push({ x, y });
    }
    const distance = (spot) => Math.hypot(spot.x - item.x, spot.y - item.y);
    return spots.sort((a, b) => distance(a) - distance(b));
  };

  for (const item of items) {
    const [w, h] = [item.width / 2, item.height / 2];
    const inFrame = (s) => s.x >= w + 1 && s.x <= frame.width - w - 1 && s.y >= h + 1 && s.y <= frame.height - h - 1;
    const isApart = (s) =>
      placed.every((p) => Math.abs(s.x - p.x) >= w + p.width / 2 + GAP || Math.abs(s.y - p.y) >= h + p.height / 2 + GAP);
    const isOff = (s, target, radius) =>
      Math.hypot(Math.max(0, Math.abs(s.x - target.x) - w), Math.max(0, Math.abs(s.y - target.y) - h)) >= radius;
    const offShapes = (s) => items.every((other) => other.targets.every((t) => isOff(s, t, t.r + 1)));
    const offPoints = (s) => items.every((other) => other.targets.every((t) => isOff(s, t, POINT)));

    const first = spotsAround(item, CLOSE).next().value;
    const free = (distances) => [...spotsAround(item, distances)].filter((s) => inFrame(s) && isApart(s));
    const [close, farther] = [free(CLOSE), free(FARTHER)];
    const spot =
      close.find(offShapes) ??
      close.find(offPoints) ??
      farther.find(offShapes) ??
      farther.find(offPoints) ??
      anywhere(item).find((s) => isApart(s) && offPoints(s)) ??
      { x: clamp(first.x, w, frame.width - w), y: clamp(first.y, h, frame.height - h) };
    placed.push({ ...spot, width: item.width, height: item.height });
  }
  return placed.map(({ x, y }) => ({ x, y }));
};

// `value` kept in least..most; the middle of both where nothing lies between.
function clamp(value, least, most) {
  return least > most ? (least + most) / 2 : Math.min(Math.max(value, least), most);
}
