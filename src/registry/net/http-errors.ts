/** What failed requests mean: the one door to `faults/`, for those who only have to throw it. */
export { MAX_ERROR_BODY, type AuthState } from '../faults/answer.ts'
export { oneLine } from '../faults/quote.ts'
export { statusError } from '../faults/status.ts'
export { transportError } from '../faults/transport.ts'
