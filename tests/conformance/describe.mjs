// Prints what the cases of the suite in the folder argv[2] are: what to expect of them is in their sources only.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const root = process.argv[2]
const load = async file => (await import(pathToFileURL(path.join(root, 'tests', file)))).default
const suites = [...await load('index.mjs')]
const apart = 'surrogate-control.mjs'
if (fs.existsSync(path.join(root, 'tests', apart))) {
  const suite = await load(apart)
  if (!suites.some(known => known.id === suite.id)) suites.push(suite)
}
const cases = suites.flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  suite: suite.id,
  kind: test.kind || 'required',
  name: test.name,
  depends_on: test.depends_on || [],
  is_for_browsers: test.browser_only === true
})))
console.log(JSON.stringify(cases))
