// Two clips on top of each other: the range shows more of one or of the other, and the depth follows the photo's clock.
const follow = () => {
  const [photo, depth] = element.querySelectorAll("video"), range = element.querySelector("input");
  if (!photo) return;
  const cut = () => (depth.style.clipPath = `inset(0 0 0 ${100 - range.value}%)`);
  const together = () => {
    if (Math.abs(depth.currentTime - photo.currentTime) > 0.1) depth.currentTime = photo.currentTime;
    photo.paused ? depth.pause() : depth.play();
  };
  range.addEventListener("input", cut);
  for (const event of ["play", "pause", "seeked", "timeupdate"]) photo.addEventListener(event, together);
  // Some clips play in no browser; what was written plays in all.
  photo.addEventListener("error", () => element.querySelector(".clips").classList.add("depth-only"));
  photo.addEventListener("error", () => (depth.controls = true));
  cut();
};
watch("value", follow);
follow();
