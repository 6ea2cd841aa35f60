#pragma once
/**
 * A decision in words and as JSON: what `sundog explain`, `events`, `replay` and the store show.
 */
#include "core/group.h"
#include "core/ledger.h"

#include <jansson.h>

/**
 * One ledger row as an object. Names of members come from the group. A new reference.
 * Keys: id, group, act, why, from, to, carries, p_without, p_with, grade, saved_ms, ...
 */
json_t *decision_json(const struct dog_ledger_row *row, const struct dog_group *g);

/** The paragraph of `sundog explain`, from decision_json's object. The text is the caller's to free. */
char *decision_text(const json_t *decision);
