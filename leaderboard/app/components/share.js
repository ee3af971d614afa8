// Copies the address of the page, which carries the whole view.
export default function segbenchShare(component) {
  const root = component.parentElement.querySelector(".segbench-share");
  if (root.firstChild) return;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy link";
  button.title = "The link carries the whole view: board, filters, order, picked rows, image";
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      // Without HTTPS a browser has no clipboard for pages: the address is put where it can be copied by hand.
      done = false;
    }
    said.textContent = done ? "copied" : "copy it from the address bar";
    setTimeout(() => { said.textContent = ""; }, 3000);
  });
  root.append(button, said);
}
