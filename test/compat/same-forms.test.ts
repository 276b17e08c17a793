import { compare } from './same/compare';
import { scenarios } from './same/forms';

compare('forms', scenarios, ['disposed of by await using']);
