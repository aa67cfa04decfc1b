import { containersPolicy } from './containers.ts'
import { kyvernoPolicies } from './kyverno.ts'
import { policyControllerPolicy } from './policy-controller.ts'
import type { Enforcer, PolicyFile, PolicyInputs } from './policy.ts'

/** The files for one of the enforcers. */
export function policyFiles(enforcer: Enforcer, inputs: PolicyInputs): PolicyFile[] {
  switch (enforcer) {
    case 'kyverno':
      return [kyvernoPolicies(inputs)]
    case 'policy-controller':
      return [policyControllerPolicy(inputs)]
    case 'containers':
      return containersPolicy(inputs)
  }
}
