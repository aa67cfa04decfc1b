import { parseDescription, requiredFeatures, type BundleDescription } from '../bundle/description.ts'
import { formatMoment } from '../bundle/fields.ts'
import { checkDeliveredNames, sortImages } from '../bundle/layout.ts'
import { DESCRIPTION, MAX_JSON_ENTRY } from '../bundle/names.ts'
import { alsoThere } from '../bundle/skipped.ts'
import { AirgapError, type Problem } from '../errors.ts'
import type { Trust } from './authenticate.ts'
import { asProblem, readChecked, type OpenedBundle } from './opened-bundle.ts'

/** Step 3 of the verification: reads `airgap.json`. */
export async function readDescription(opened: OpenedBundle): Promise<BundleDescription | undefined> {
  const bytes = await readChecked(opened, DESCRIPTION, MAX_JSON_ENTRY)
  if (!bytes) return undefined
  try {
    return parseDescription(bytes)
  } catch (error) {
    opened.problems.push(asProblem(DESCRIPTION, error))
    return undefined
  }
}

/** Step 4 of the verification: checks name, sequence and expiry against what the caller expects, and the list of images. */
export function checkDescription(description: BundleDescription, trust: Trust, problems: Problem[]): void {
  const report = (message: string): void => {
    problems.push({ entry: DESCRIPTION, message })
  }
  const expect = (message: string): void => {
    problems.push({ entry: DESCRIPTION, message, kind: 'expectation' })
  }
  const { name, sequence, expires, images } = description
  if (trust.expectName !== undefined && trust.expectName !== name) {
    expect(
      `the bundle's name is ${JSON.stringify(name)}, not ${JSON.stringify(trust.expectName)} as expected`,
    )
  }
  if (trust.minSequence !== undefined && sequence < trust.minSequence) {
    expect(
      `the bundle's sequence is ${sequence}, but at least ${trust.minSequence} is expected: it is an older bundle`,
    )
  }
  if (expires !== undefined && Date.parse(expires) <= trust.now) {
    expect(`the bundle expired at ${expires}: this machine's clock says ${formatMoment(trust.now)}`)
  }
  for (const feature of requiredFeatures(images)) {
    if (!description.requires.includes(feature))
      report(`it uses the feature ${feature}, but does not list it under requires`)
  }
  if (sortImages(images).some((image, i) => image !== images[i])) report('its images are not in order')
  for (const source of alsoThere(images, description.skipped))
    report(`${source} is listed under skipped, but is among the images`)
  try {
    checkDeliveredNames(images)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    for (const problem of error.problems) report(`${problem.entry}: ${problem.message}`)
  }
}
