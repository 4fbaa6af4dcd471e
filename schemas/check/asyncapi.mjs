// Reads schemas/asyncapi.yaml with the official parser and fails on errors; warnings are
// printed. Then it plants faults and fails if they are not found:
// node asyncapi.mjs DIRECTORY-OF-THE-SCHEMAS
import { Parser } from '@asyncapi/parser'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const source = join(process.argv[2], 'asyncapi.yaml')
const text = readFileSync(source, 'utf8')
const severities = ['error', 'warning', 'information', 'hint']
const shown = (d) => `${severities[d.severity]} ${d.code} at ${d.path.join('.')}: ${d.message}`
const parse = (text) => new Parser().parse(text, { source })

let failed = false
const fail = (text) => { failed = true; console.error(text) }

const { document, diagnostics } = await parse(text)
for (const d of diagnostics) (d.severity === 0 ? fail : console.log)(shown(d))
if (document) {
  const warnings = diagnostics.filter((d) => d.severity > 0).length
  console.log(`AsyncAPI ${document.version()}: ${document.channels().length} channels, ${document.operations().length} operations, ${document.messages().length} messages, ${warnings} warnings`)
} else fail('the AsyncAPI document could not be read')

for (const [what, from, to] of [
  ['an action that does not exist', 'action: send', 'action: sends'],
  ['a reference to a type that is not there', '#/$defs/Settings', '#/$defs/Setting'],
  ['headers that are no schema', 'headers:\n', 'headers: 5\n        x-headers:\n'],
]) {
  if (!text.includes(from)) fail(`planted ${what}: there is no ${JSON.stringify(from)} to replace`)
  const found = (await parse(text.replace(from, () => to))).diagnostics.find((d) => d.severity === 0)
  if (found) console.log(`planted ${what}: found: ${shown(found)}`)
  else fail(`planted ${what}: not found`)
}
if (failed) process.exit(1)
