// The page's policy allows no inline style. xterm.js makes style elements and sets
// style attributes; both are done here through the CSSOM, which is allowed.
(() => {
  "use strict";
  const create = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    if (String(name).toLowerCase() !== "style") return create.call(this, name, options);
    const element = create.call(this, "template"); // even an empty style element is refused
    const sheet = new CSSStyleSheet();
    Object.defineProperty(element, "textContent", {
      get: () => Array.from(sheet.cssRules, (rule) => rule.cssText).join("\n"),
      set: (text) => sheet.replaceSync(text),
    });
    Object.defineProperty(element, "sheet", { get: () => sheet });
    const remove = element.remove;
    element.remove = function () {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
      remove.call(this);
    };
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    return element;
  };
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (String(name).toLowerCase() === "style" && this.style) this.style.cssText = value;
    else set.call(this, name, value);
  };
})();
