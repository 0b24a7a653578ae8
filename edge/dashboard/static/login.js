import { post } from "./api.js";

const problem = document.getElementById("problem");
document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token");
  problem.textContent = "";
  try {
    const response = await post("/api/login", { token: token.value });
    if (response.ok) {
      location.reload();
      return;
    }
    problem.textContent = (await response.json()).error;
  } catch {
    problem.textContent = "The server does not answer.";
  }
  token.select();
});
