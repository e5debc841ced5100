// One automation's life through Qlik's own client: node story.mjs HOST v1|workflows, the API key in QLIK_API_KEY.
// What was answered goes to stdout as JSON; a call that fails ends the story with the error's status and message.
import { createQlikApi } from "@qlik/api";

const [host, family] = process.argv.slice(2);
const api = createQlikApi({ hostConfig: { authType: "apikey", host, apiKey: process.env.QLIK_API_KEY } });
const { automations, automationConnections, automationConnectors } = family === "v1" ? api : api.workflows;
// Answers to GET are cached for ten minutes.
const fresh = { noCache: true };

async function idsOfAllPages(limit) {
  const pages = [];
  let answer = await automations.getAutomations({ limit, sort: "id" }, fresh);
  for (;;) {
    pages.push(answer.data.data.map((row) => row.id));
    if (!answer.next) return pages;
    answer = await answer.next(fresh);
  }
}

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return error.status;
  }
  return null;
}

const workspace = {
  blocks: [
    {
      id: "7D0B3A52-3D34-4C0B-9F2C-5A6C1B2E8F10",
      type: "StartBlock",
      name: "Start",
      displayName: "Start",
      disabled: false,
      inputs: [{ id: "run_mode", type: "select", value: "manual", structure: [] }],
      settings: [],
      collapsed: [],
      childId: null,
      x: 0,
      y: 100,
      comment: null,
    },
  ],
  variables: [],
};

const told = {};
told.me = (await api.users.getMyUser()).data;
told.tenant = (await api.tenants.getMyTenant()).data;
told.spaces = (await api.spaces.getSpaces({ limit: 100 })).data.data.map((row) => row.name);
told.connections = (await automationConnections.getAutomationConnections({ limit: 100 })).data.data.length;
told.connectors = (await automationConnectors.getAutomationConnectors({ limit: 100 })).data.data.length;
told.pagesBefore = await idsOfAllPages(4);

const created = await automations.createAutomation({ name: "Made by another client", description: "first", workspace });
told.created = { status: created.status, data: created.data };
const { id } = created.data;
told.read = (await automations.getAutomation(id, fresh)).data;
told.pagesAfter = await idsOfAllPages(4);

const updated = await automations.updateAutomation(id, { name: "Made by another client, renamed", workspace });
told.updated = { status: updated.status, name: updated.data.name };
told.disabled = (await automations.disableAutomation(id)).status;
told.stateDisabled = (await automations.getAutomation(id, fresh)).data.state;
told.enabled = (await automations.enableAutomation(id)).status;
told.stateEnabled = (await automations.getAutomation(id, fresh)).data.state;
const named = await automations.getAutomations({ filter: 'name eq "Made by another client, renamed"' }, fresh);
told.found = named.data.data.map((row) => row.id);
if (family === "workflows") told.settings = (await automations.getAutomationsSettings(fresh)).data;
told.deleted = (await automations.deleteAutomation(id)).status;
told.afterDelete = await refusal(() => automations.getAutomation(id, fresh));
told.pagesEnd = await idsOfAllPages(4);
console.log(JSON.stringify(told));
