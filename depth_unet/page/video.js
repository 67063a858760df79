// Two clips on top of each other, at the same moment: the range shows more of one or of the other.
const follow = () => {
  const [photo, depth] = element.querySelectorAll("video"), range = element.querySelector("input");
  if (!photo) return;
  const play = element.querySelector("button");
  const cut = () => (depth.style.clipPath = `inset(0 0 0 ${(100 - range.value) * (photo.clientWidth / depth.clientWidth)}%)`);
  const together = () => {
    if (Math.abs(photo.currentTime - depth.currentTime) > 0.1) photo.currentTime = depth.currentTime;
  };
  range.addEventListener("input", cut);
  new ResizeObserver(cut).observe(photo);
  depth.addEventListener("timeupdate", together);
  play.addEventListener("click", () => {
    const [act, text] = depth.paused ? ["play", "Pause"] : ["pause", "Play"];
    for (const clip of [photo, depth]) clip[act]();
    play.textContent = text;
  });
  // Some clips play in no browser; what was written plays in all.
  photo.addEventListener("error", () => (photo.hidden = range.disabled = true));
  photo.addEventListener("error", () => (depth.style.clipPath = ""));
};
watch("value", follow);
follow();
