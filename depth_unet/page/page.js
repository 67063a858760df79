const fileName = image => decodeURIComponent(image.src.split("/").pop()).replace(/\.[^.]*$/, "");
const examples = () => [...document.querySelectorAll("button.gallery-item img")];
const compared = () => [...document.querySelectorAll("#slider img")];

Object.assign((window.depthPage ??= {}), {
  // gradio's thumbnails are buttons without a name, and the pictures of its slider have no text: screen readers get
  // both from here, each time the page changes.
  describe() {
    const describe = () => {
      for (const image of examples())
        image.closest("button").ariaLabel = "Example: " + fileName(image).replaceAll("_", " ");
      for (const image of compared()) {
        const text = image.src.includes("_color.") ? "The depth of the photo in colours" : "The photo";
        if (image.alt !== text) image.alt = text;
      }
    };
    new MutationObserver(describe).observe(document.body, {subtree: true, childList: true, attributeFilter: ["src", "alt"]});
    describe();
  },

  // Click the example that the address names.
  takeExample() {
    const wanted = new URLSearchParams(location.search).get("example");
    examples().find(image => fileName(image) === wanted)?.click();
  },

  // Put example and colours into the address, so that it can be shared; visitors' own photos stay out of it.
  updateAddress(cmap, near, far) {
    const shown = compared().map(fileName);
    const example = examples().map(fileName).find(name => shown.includes(name + "_color"));
    const parameters = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries({example, cmap, near, far}))
      value ? parameters.set(key, value) : parameters.delete(key);
    const address = location.pathname + (String(parameters) && "?" + parameters);
    if (address !== location.pathname + location.search) history.replaceState(history.state, "", address);
  },
});
