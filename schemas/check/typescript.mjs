// Generates TypeScript from schemas/parley.schema.json as anybody would, and fails if a
// type is there twice, if one shadows a type of TypeScript or of a browser, or if
// narrow.ts does not compile with it. Then it plants a fault of each kind and fails if
// that is not found: node typescript.mjs DIRECTORY-OF-THE-SCHEMAS
import { compile } from 'json-schema-to-typescript'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const here = dirname(fileURLToPath(import.meta.url))
const bundle = JSON.parse(readFileSync(join(process.argv[2], 'parley.schema.json'), 'utf8'))
const narrow = readFileSync(join(here, 'narrow.ts'), 'utf8')
const work = mkdtempSync(join(tmpdir(), 'parley-schemas-'))

// program compiles files in the working directory under strict.
function program(files) {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(work, name), text)
  return ts.createProgram(Object.keys(files).map((name) => join(work, name)), {
    strict: true, noEmit: true, skipLibCheck: true, types: [],
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022, moduleResolution: ts.ModuleResolutionKind.Bundler,
  })
}

function errorsOf(program) {
  return ts.getPreEmitDiagnostics(program).map((d) => {
    const at = d.file ? `${d.file.fileName.split('/').pop()}:${d.file.getLineAndCharacterOfPosition(d.start).line + 1}: ` : ''
    return at + ts.flattenDiagnosticMessageText(d.messageText, ' ')
  })
}

// globals are the names of all types and values that a program has without an import.
function globals() {
  const p = program({ 'empty.ts': 'export {}\n' })
  const file = p.getSourceFile(join(work, 'empty.ts'))
  return new Set(p.getTypeChecker().getSymbolsInScope(file, ts.SymbolFlags.Type | ts.SymbolFlags.Value).map((s) => s.name))
}

// faults returns what is wrong with the code that is generated from a schema.
async function faults(schema, known) {
  const code = await compile(structuredClone(schema), schema.title, { bannerComment: '' })
  const names = [...code.matchAll(/^export (?:type|interface) (\w+)/gm)].map((m) => m[1])
  const ours = new Set([schema.title, ...Object.keys(schema.$defs)])
  const found = names.filter((n) => !ours.has(n)).map((n) => `type ${n} is not in $defs: it is a type a second time`)
  found.push(...names.filter((n, i) => names.indexOf(n) !== i).map((n) => `type ${n} is there twice`))
  found.push(...[...ours].filter((n) => !names.includes(n)).map((n) => `type ${n} is in $defs and was not generated`))
  found.push(...names.filter((n) => known.has(n)).map((n) => `type ${n} shadows a type of TypeScript or of a browser`))
  found.push(...errorsOf(program({ 'parley.ts': code, 'narrow.ts': narrow })))
  return { found, types: names.length, lines: code.split('\n').length }
}

// Only types that the root refers to are generated. Records are no events, so a root
// of their own is put above both.
const whole = {
  ...bundle, title: 'ParleyMessage', $defs: { ...bundle.$defs, ParleyEvent: { oneOf: bundle.oneOf } },
  oneOf: ['ParleyEvent', 'PresenceRecord', 'KnownTool'].map((name) => ({ $ref: `#/$defs/${name}` })),
}

// A plant is a change of the bundle that must be found, and a part of what is found.
const plants = [
  ['a type a second time', /type Failure1 is not in \$defs/, (s) => { s.$defs.TurnEnded.properties.error = { $ref: '#/$defs/Failure', description: 'what failed' } }],
  ['a name of JavaScript', /type Object shadows/, (s) => {
    s.$defs.Object = s.$defs.Claim
    s.oneOf = s.oneOf.map((one) => (one.$ref === '#/$defs/Claim' ? { $ref: '#/$defs/Object' } : one))
  }],
  ['an event that the switch does not name', /narrow\.ts:\d+: .*never/, (s) => {
    s.$defs.Later = { type: 'object', properties: { type: { type: 'string', const: 'Later' } }, required: ['type'] }
    s.$defs.OutEvent.oneOf.push({ $ref: '#/$defs/Later' })
  }],
  ['a Decision of any events', /narrow\.ts:\d+: /, (s) => {
    s.$defs.DecisionEvent = { type: 'object', properties: { type: { type: 'string' } }, required: ['type'] }
  }],
]

let failed = false
const fail = (text) => { failed = true; console.error(text) }
try {
  const known = globals()
  if (!known.has('Error') || !known.has('Awaited') || !known.has('Event')) throw new Error('the names of TypeScript and browsers could not be read')
  const { found, types, lines } = await faults(whole, known)
  found.forEach(fail)
  const alone = await faults(bundle, known)
  alone.found.filter((f) => !/type (PresenceRecord|KnownTool|ServerState|RenamedTool) is in \$defs and was not generated/.test(f)).forEach(fail)
  console.log(`${types} types in ${lines} lines of TypeScript, ${alone.types} of them from the bundle as it is`)
  for (const [what, wanted, plant] of plants) {
    const schema = structuredClone(bundle)
    plant(schema)
    const { found } = await faults(schema, known)
    const hit = found.find((f) => wanted.test(f))
    if (hit) console.log(`planted ${what}: found: ${hit}`)
    else fail(`planted ${what}: not found, only ${JSON.stringify(found)}`)
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
if (failed) process.exit(1)
