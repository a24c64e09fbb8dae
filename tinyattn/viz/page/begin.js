for (const root of document.querySelectorAll("div.walk")) start(root).catch(error => { root.querySelector(".panel").textContent = `The page can not start: ${error.message}`; throw error; });
