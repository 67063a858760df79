// What joins gradio's page to the viewer.
Object.assign((window.depthPage ??= {}), {
  tickets: 0,
  waiting: new Map(), // files that the server writes, by their ticket

  // Show each new value of gradio's component, and hand the viewer the files that the server writes.
  view(element, props, watch, take) {
    const asked = new URLSearchParams(location.search), number = name => asked.has(name) && Number(asked.get(name)) || null;
    const look = {near: number("near"), far: number("far")};
    if (asked.get("cmap") in DepthViewer.COLOUR_MAPS) look.cmap = asked.get("cmap");
    let left = asked.has("example") ? 2 : 1; // results that get the colours of the address: the first one, the example
    const viewer = this.viewer = new DepthViewer(element.firstElementChild, {
      onChange: state => left <= 0 && this.updateAddress(state, props.value?.example),
      download: (kind, state) => new Promise((resolve, reject) => {
        const ticket = ++this.tickets;
        this.waiting.set(ticket, {resolve, reject});
        take({ticket, kind, state});
      }),
    });
    const show = async () => {
      const value = props.value, given = left-- > 0 ? look : {};
      if (!value) return viewer.clear();
      const decoded = await DepthViewer.decode(value.depth.url, value.step, value.least, value.ratio);
      if (value !== props.value) return; // another photo meanwhile
      const camel = name => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
      const about = Object.fromEntries(Object.entries(value.about).map(([name, known]) => [camel(name), known]));
      await viewer.show({...about, name: about.photo, ...value, ...decoded, photo: value.photo.url, look: given});
    };
    watch("value", show);
    show();
  },

  examples(element, choose) {
    element.addEventListener("click", ({target}) => {
      const button = target.closest("[data-example]");
      if (button) choose(button.dataset.example);
    });
    const wanted = CSS.escape(new URLSearchParams(location.search).get("example") ?? "");
    setTimeout(() => element.querySelector(`[data-example="${wanted}"]`)?.click());
  },

  // The server's answer to `take`; without a ticket, to all that wait.
  answer(value) {
    for (const [ticket, {resolve, reject}] of [...this.waiting]) {
      if (value?.ticket && value.ticket !== ticket) continue;
      this.waiting.delete(ticket);
      if (value?.file) resolve({name: value.file.orig_name, url: value.file.url, note: value.note});
      else reject(Error(value?.refused ?? "The server could not write this file."));
    }
  },

  // Put example and colours into the address, so that it can be shared; visitors' own photos stay out of it.
  updateAddress({cmap, near, far, automatic}, example) {
    const parameters = new URLSearchParams(location.search), digits = metres => automatic ? "" : metres.toFixed(2);
    const [first] = Object.keys(DepthViewer.COLOUR_MAPS);
    for (const [key, value] of Object.entries({example, cmap: cmap === first ? "" : cmap, near: digits(near), far: digits(far)}))
      value ? parameters.set(key, value) : parameters.delete(key);
    const address = location.pathname + (String(parameters) && "?" + parameters);
    if (address !== location.pathname + location.search) history.replaceState(history.state, "", address);
  },
});
