"""Made-up automations of any number and size: only a recipe is kept, the workspace is the same each time it is made.

They share their structure, as automations of one company do; ids and texts are random, so that they compress no better
than real ones.
"""

from __future__ import annotations

import random

import orjson
from attrs import frozen

from qlikmigrate.sandbox.catalogue import QLIK_CLOUD_SERVICES

_DO_RELOAD = "b5dbb7a0-e715-11ea-b2bf-43bb35adee19"
_LIST_APPS = "8cc63340-107b-11ec-ab5d-f9b221ed2dc5"

_VOCABULARY = """
    reload sales ledger stock order invoice customer region quarter budget forecast shipment carrier plant shift
    supplier contract ticket backlog churn margin rebate journal payroll branch store basket campaign lead visit sensor
    batch yield scrap audit control archive export import staging publish refresh notify approve reject escalate merge
    split filter enrich lookup match cleanse mask sample verify compare retry queue drain daily weekly monthly nightly
    morning Zürich Malmö København Łódź Genève São-Paulo north south east west retail wholesale finance logistics
"""
_WORDS = tuple(_VOCABULARY.split())
# 256 words, so that one random byte is one word: the fastest way to random text.
_BY_BYTE = tuple(_WORDS[byte % len(_WORDS)] + ("s" if byte >= len(_WORDS) else "") for byte in range(256))

# Members stand in the order in which the service spells them: by length, then name.
_START = (
    '{"x":0,"y":0,"id":"%(id)s","name":"Start","type":"StartBlock","inputs":[{"id":"run_mode","type":"select",'
    '"value":"%(mode)s","structure":[]}],"childId":"%(child)s","comment":null,"disabled":false,"settings":[],'
    '"collapsed":[{"name":"loop","isCollapsed":false}],"displayName":"Start"}'
)
_BLOCKS = (
    '{"x":%(x)d,"y":%(y)d,"id":"%(id)s","name":"doReload%(n)d","type":"SnippetBlock","inputs":['
    '{"id":"29603390-e716-11ea-9e37-05e08ee32111","type":"string","value":"%(app)s","structure":[],'
    '"displayValue":"%(title)s (%(app)s)"},{"id":"2ac9eef0-a677-11eb-aacc-8b755d0fe484","type":"select",'
    '"value":"Wait for reload to complete","structure":[]}],"childId":%(child)s,"comment":"%(text)s",'
    '"disabled":false,"settings":[{"id":"blendr_on_error","type":"select","value":"stop","structure":[]}],'
    '"collapsed":[{"name":"loop","isCollapsed":false}],"displayName":"Qlik Cloud Services - Do Reload",'
    '"loopBlockId":null,"snippet_guid":"' + _DO_RELOAD + '","datasourcetype_guid":"' + QLIK_CLOUD_SERVICES + '"}',
    '{"x":%(x)d,"y":%(y)d,"id":"%(id)s","name":"variable%(n)d","type":"VariableBlock","inputs":[],'
    '"childId":%(child)s,"comment":null,"disabled":false,"settings":[],"collapsed":[{"name":"loop",'
    '"isCollapsed":false}],"operations":[{"id":"set_value","key":"%(key)s","name":"Set value of { variable }",'
    '"value":"%(text)s { $.doReload%(n)d.status } %(text2)s"}],"displayName":"Variable - %(title)s",'
    '"variableGuid":"%(variable)s"}',
    '{"x":%(x)d,"y":%(y)d,"id":"%(id)s","name":"condition%(n)d","type":"IfElseBlock","inputs":[{"id":"conditions",'
    '"type":"custom","value":{"mode":"all","conditions":[{"input1":"{ $.doReload%(n)d.status }","input2":"%(title)s",'
    '"operator":"="}]},"structure":[]}],"childId":%(child)s,"comment":"%(text)s","disabled":false,"settings":[],'
    '"collapsed":[{"name":"yes","isCollapsed":false},{"name":"no","isCollapsed":false}],'
    '"childTrueId":null,"displayName":"Condition - %(title)s","childFalseId":null}',
    '{"x":%(x)d,"y":%(y)d,"id":"%(id)s","name":"output%(n)d","type":"ShowBlock","inputs":[{"id":"input",'
    '"type":"longtext","value":"%(text)s\\n%(text2)s: {$.condition%(n)d.result}","structure":[]}],"childId":%(child)s,'
    '"comment":null,"disabled":false,"settings":[{"id":"display_mode","type":"select","value":"add",'
    '"structure":[]}],"collapsed":[{"name":"loop","isCollapsed":false}],"displayName":"Output - %(title)s"}',
    '{"x":%(x)d,"y":%(y)d,"id":"%(id)s","name":"listApps%(n)d","type":"EndpointBlock","inputs":['
    '{"id":"8cd8db50-107b-11ec-8082-edc45dd151ef","type":"select","value":"%(key)s","structure":[],'
    '"displayValue":"+name"},{"id":"8ce4fad0-107b-11ec-a6ac-2bd407ad134b","type":"string","value":"%(space)s",'
    '"structure":[],"displayValue":"%(title)s (%(space)s)"}],"childId":%(child)s,"comment":"%(text)s",'
    '"disabled":false,"settings":[{"id":"maxitemcount","type":"string","value":null,"structure":[]},'
    '{"id":"blendr_on_error","type":"select","value":"ignore","structure":[]}],"collapsed":[{"name":"loop",'
    '"isCollapsed":false}],"displayName":"Qlik Cloud Services - List Apps","loopBlockId":null,'
    '"endpoint_guid":"' + _LIST_APPS + '","datasourcetype_guid":"' + QLIK_CLOUD_SERVICES + '"}',
)


def _guid(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-A{text[17:20]}-{text[20:]}"


@frozen
class Recipe:
    """What makes one automation: called, it gives the workspace as JSON of about `size_bytes`."""

    seed: int
    size_bytes: int

    def name(self, index: int) -> str:
        """Its name."""
        words = random.Random(self.seed).choices(_WORDS, k=3)
        return f"{' '.join(words).capitalize()} {index:05d}"

    def description(self) -> str:
        """Its description."""
        return " ".join(random.Random(self.seed ^ 1).choices(_WORDS, k=9))

    def start(self) -> str:
        """Its run mode: one in four would start by itself."""
        return "triggered" if self.seed % 4 == 0 else "manual"

    def _block_count(self) -> int:
        return max(1, (self.size_bytes - 300) // 830)

    def derived(self) -> dict[str, list[str]]:
        """The ids that the service derives from its blocks."""
        count = self._block_count()
        return {
            "connectorIds": [QLIK_CLOUD_SERVICES] if count > 1 else [],
            "endpointIds": [_LIST_APPS] if count > len(_BLOCKS) else [],
            "snippetIds": [_DO_RELOAD] if count > 1 else [],
        }

    def __call__(self) -> bytes:
        """The workspace."""
        chance = random.Random(self.seed)
        count = self._block_count()
        # One draw for all ids: five of 32 digits for each block.
        digits = chance.randbytes(16 * (5 * count + 1)).hex().upper()
        ids = [_guid(digits[index : index + 32]) for index in range(0, len(digits), 32)]
        variable = ids[-1]
        word = _BY_BYTE
        draws = chance.randbytes(30 * count)
        parts = [_START % {"id": ids[0], "child": ids[5] if count > 1 else ids[0], "mode": self.start()}]
        for n in range(1, count):
            base = 5 * n
            words = [word[byte] for byte in draws[30 * n : 30 * n + 30]]
            parts.append(
                _BLOCKS[(n - 1) % len(_BLOCKS)]
                % {
                    "x": 40 * (n % 9),
                    "y": 120 * n,
                    "n": n,
                    "id": ids[base],
                    "child": f'"{ids[base + 5]}"' if n + 1 < count else "null",
                    "key": ids[base + 1],
                    "app": ids[base + 2].lower(),
                    "space": ids[base + 3][:8].lower() + ids[base + 3][-12:].lower() + "beef",
                    "variable": variable,
                    "title": " ".join(words[:3]),
                    "text": " ".join(words[3:16]),
                    "text2": " ".join(words[16:]),
                }
            )
        body = ",".join(parts)
        # What is still missing is one long text, as a style sheet in a mail would be.
        rest = self.size_bytes - len(body.encode()) - 100
        filler = " ".join(map(word.__getitem__, chance.randbytes(rest // 8))) if rest > 200 else "vResult"
        tail = f',"variables":[{{"guid":"{variable}","name":{orjson.dumps(filler).decode()},"type":"string"}}]}}'
        return f'{{"blocks":[{body}]{tail}'.encode()
