/** Errors thrown by user code, whatever they are: what is recorded of them, and the error made of a record. */
import { type ErrorParts, makeError } from './error-parts.js';
import { BARE_RECORD_LENGTH, describeThrown } from './error-description.js';
import type { EncodedValue } from './format.js';
import { PLAIN_JSON_FORMAT } from './format.js';
import { isError } from './value-kind.js';
import { classNameOf } from './value-kind.js';
