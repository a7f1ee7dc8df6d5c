// The first page: create an application, or open one.
import { addressOf } from "./address.js";
import { Problem } from "./client/index.js";
import { byId, element } from "./dom.js";
import { connect, tell } from "./services.js";
import { inWords } from "./words.js";

const SHOWN = 8;
const FIRST_CHAT = "General";

export class Start {
  // Kept in memory alone: reloading the page forgets it.
  client = connect();

  constructor() {
    byId("new-application").addEventListener("submit", (event) => this.#create(event));
    byId("admin").addEventListener("submit", (event) => this.#useToken(event));
  }

  async open() {
    byId("application-name").focus();
    try {
      const pages = this.client.applications({ order: "desc", pageSize: SHOWN }).pages();
      this.#list((await pages.next()).value.items);
    } catch (error) {
      this.#failed(error);
    }
  }

  #list(applications) {
    byId("admin").hidden = true;
    byId("existing").hidden = applications.length === 0;
    byId("applications").replaceChildren(
      ...applications.map(({ name, access_token: token, chat_count: count }) =>
        element("li", {}, element("a", { href: addressOf(token), dir: "auto" }, name), ` ${count} chat${count === 1 ? "" : "s"}`),
      ),
    );
  }

  async #create(event) {
    event.preventDefault();
    const field = byId("application-name");
    try {
      const { access_token: token } = await this.client.createApplication(field.value);
      const { number } = await this.client.application(token).createChat({ name: FIRST_CHAT });
      field.value = "";
      location.hash = addressOf(token, number);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error) {
    if (error instanceof Problem && error.status === 401) byId("admin").hidden = false;
    else tell(inWords(error));
  }

  #useToken(event) {
    event.preventDefault();
    this.client = connect(byId("admin-token").value);
    this.open();
  }
}
