// A sprite's viewBox is the picture that it shows.
const turn = (sprite, number) => {
  const { width, height } = sprite.viewBox.baseVal, columns = Number(sprite.dataset.columns);
  sprite.setAttribute("viewBox", [(number % columns) * width, Math.floor(number / columns) * height, width, height].join(" "));
};
for (const box of document.querySelectorAll(".explorer")) {
  const sprite = box.querySelector(".sprite"), sliders = [...box.querySelectorAll("input")];
  const show = () => {
    for (const slider of sliders) {
      const text = slider.list.options[slider.value].label;
      slider.setAttribute("aria-valuetext", text);
      slider.closest(".axis").querySelector("output").textContent = text;
    }
    turn(sprite, sliders.reduce((sum, slider) => sum + slider.value * slider.dataset.stride, 0));
  };
  for (const slider of sliders) slider.addEventListener("input", show);
  show();
}
for (const box of document.querySelectorAll(".scrubber")) {
  const labels = JSON.parse(box.dataset.labels), sprite = box.querySelector(".sprite");
  const slider = box.querySelector("input"), output = box.querySelector("output"), button = box.querySelector("button");
  const last = Number(slider.max);
  let timer = null;
  const show = () => {
    const frame = Number(slider.value), label = labels.length ? labels[frame] : "", text = "step " + frame + " of " + last;
    turn(sprite, frame);
    output.textContent = label ? text + " · " + label : text;
    slider.setAttribute("aria-valuetext", output.textContent);
  };
  const pause = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
  const play = () => {
    if (Number(slider.value) === last) { slider.value = 0; show(); }
    button.textContent = "Pause";
    timer = setInterval(() => { slider.value = Number(slider.value) + 1; show(); if (Number(slider.value) === last) pause(); }, Math.max(40, 4000 / (last + 1)));
  };
  slider.addEventListener("input", () => { if (timer) pause(); show(); });
  button.addEventListener("click", () => { if (timer) pause(); else play(); });
  show();
}
// What scrolls sideways must be reachable by keyboard, in every browser; what does not scroll must not be in the way.
const reach = () => {
  for (const box of document.querySelectorAll(".scroll, .picture")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute("tabindex");
  }
};
addEventListener("resize", reach);
reach();
