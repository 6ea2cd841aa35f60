#pragma once
/**
 * Why a chance is what it is, as JSON: for forecasts and for decisions. The same keys everywhere.
 *     "model":       the model that counts most: "trees", "online logistic", or "none"
 *     "drivers":     [{"feature", "log_odds"}], largest first
 *     "voices":      [{"name", "p", "weight"}], heaviest first, those that are heard
 *     "calibration": {"text", "said", "happened", "n"}: what such a chance has meant so far
 *     "changed":     a sentence: the level that changed lately, or null
 *     "modes":       [{"mode", "p", "has_skill", "skill", "events"}], at the middle horizon
 */
#include "core/group.h"

#include <jansson.h>

json_t *reasons_drivers(const struct dog_reason_share driver[DOG_DRIVERS]);
json_t *reasons_voices(const struct dog_voice voice[DOG_EXPERTS]);
/** "trees", "online logistic", "none" */
const char *reasons_model(int speaker);
json_t *reasons_calibration(const struct dog_reliability *r, double p);
/** "round trip rose from 41 to 68 ms, 12s ago, and stays there; ...", what was told last; null when nothing
 * was within a quarter of an hour of at_ns. @param when  "ago", "before" */
json_t *reasons_change(const struct dog_belief *b, int64_t at_ns, const char *when);
json_t *reasons_modes(const struct dog_group *g, const struct dog_belief *b);

/** "margin falling +1.2, broken now -0.4", "" without reasons; `to` holds `room` bytes. */
void reasons_drivers_text(const json_t *drivers, char *to, size_t room);
/** "trees 61 %, online logistic 30 %, persistence 9 %" */
void reasons_voices_text(const json_t *voices, char *to, size_t room);
/** "congestion 12 %, link failure 0.3 % (no skill: base rate)" */
void reasons_modes_text(const json_t *modes, char *to, size_t room);
