#pragma once
/**
 * Seeded randomness: xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", ACM TOMS 47:4, 2021), seeded by splitmix64. The same seed gives the same numbers
 * on every machine. Not for keys: those come from libsodium.
 */
#include <stdint.h>

struct dog_rng {
        uint64_t word[4];
};

void dog_rng_init(struct dog_rng *r, uint64_t seed);
uint64_t dog_rng_u64(struct dog_rng *r);
/** Uniform in [0, 1). */
double dog_rng_unit(struct dog_rng *r);
/** Uniform in [0, n); n > 0. */
uint64_t dog_rng_below(struct dog_rng *r, uint64_t n);
/** Standard normal (Box and Muller, 1958). */
double dog_rng_normal(struct dog_rng *r);
