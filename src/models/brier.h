#pragma once
/**
 * Whether a model earns its keep.
 *
 * The Brier score (Brier, Monthly Weather Review 78, 1950) is the mean squared distance of a stated
 * chance from what happened (0 or 1): 0 is perfect, always saying the base rate b gives b(1-b).
 * dog_brier keeps it over the last 200 outcomes for a model and for plain persistence ("it stays as
 * it is"). A model that falls behind disarms itself, and comes back when it is better again.
 * Memory: 25 blocks of 8 outcomes, so "the last 200" is between 193 and 200.
 */
#include <stdbool.h>
#include <stdint.h>

enum { DOG_BRIER_BLOCKS = 25, DOG_BRIER_BLOCK = 8, DOG_BRIER_WINDOW = DOG_BRIER_BLOCKS * DOG_BRIER_BLOCK };

struct dog_brier {
        float model[DOG_BRIER_BLOCKS]; /**< sums of squares */
        float persistence[DOG_BRIER_BLOCKS];
        float chance[DOG_BRIER_BLOCKS]; /**< variance of the difference, if the model is right */
        uint32_t count; /**< outcomes ever (saturates) */
        uint8_t block;  /**< being filled */
        uint8_t in_block;
        uint8_t in_window; /**< outcomes inside the window, 0..200 */
        bool is_disarmed;
};

/** What a new outcome changed. */
enum dog_brier_change { DOG_BRIER_SAME, DOG_BRIER_DISARMED, DOG_BRIER_REARMED };

void dog_brier_init(struct dog_brier *b);
/**
 * Count one outcome. Disarms when, over a full window, the model's score is worse than
 * persistence's by more than chance (two standard errors, as the blocks differ and as the model itself
 * expects: a model that says 2 % is not refuted by 200 quiet outcomes); re-arms when it is better again by more than 2 %
 * of persistence's.
 */
enum dog_brier_change dog_brier_learn(struct dog_brier *b, double p_model, double p_persistence,
                                      bool happened);
double dog_brier_model(const struct dog_brier *b);       /**< NaN before the first outcome */
double dog_brier_persistence(const struct dog_brier *b); /**< NaN before the first outcome */
bool dog_brier_is_armed(const struct dog_brier *b);

/** Reliability: "says 70 %, happens 68 %, n = 431". Ten bins; counts since the beginning. */
enum { DOG_RELIABILITY_BINS = 10 };
struct dog_reliability {
        double said[DOG_RELIABILITY_BINS]; /**< sums */
        uint32_t happened[DOG_RELIABILITY_BINS];
        uint32_t count[DOG_RELIABILITY_BINS];
};
void dog_reliability_init(struct dog_reliability *r);
void dog_reliability_learn(struct dog_reliability *r, double p, bool happened);
/** One line for people, for bin 0..9; `to` holds at least 64 bytes. An empty bin gives "no outcome yet". */
const char *dog_reliability_text(const struct dog_reliability *r, int bin, char *to);
/** Expected calibration error: mean distance of said and happened, weighed by count; NaN when empty. */
double dog_reliability_error(const struct dog_reliability *r);
