// Requests of the pages to their service; its token is asked for where it needs one.

let token = sessionStorage.getItem("token") || "";

const dialog = document.createElement("dialog");
dialog.id = "token-dialog";
dialog.setAttribute("aria-labelledby", "token-title");
dialog.innerHTML = `<form method="dialog">
  <h2 id="token-title">This service needs a token</h2>
  <p>Its operator can give you one. It is kept until this tab is closed.</p>
  <label for="token">Token</label>
  <input id="token" type="password" autocomplete="off" required>
  <button>Continue</button>
</form>`;
document.body.append(dialog);

export const hasToken = () => Boolean(token);

export async function request(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, cache: "no-cache", ...options });
  if (response.status === 401) {
    await requestToken();
    return request(path, options);
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.error || `the service answers ${response.status}`);
  }
  return response;
}

function requestToken() {
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      token = document.getElementById("token").value.trim();
      sessionStorage.setItem("token", token);
      resolve();
    }, { once: true });
    if (!dialog.open) dialog.showModal();
  });
}
